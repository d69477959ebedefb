//! An HTTP server of a test's own, in this process and on loopback: a service and its URL.
//!
//! Promises: it is gone when it is dropped, whatever is under way. An error of the service cuts the connection.

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::error::Error;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A server, until it is dropped.
pub(crate) struct HttpServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl HttpServer {
    /// Starts one on a thread of its own; from within a runtime too.
    pub(crate) fn start<S, B>(service: S) -> HttpServer
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // bound without waiting for a future, which a thread of another runtime must not
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let http = http1::Builder::new().timer(TokioTimer::new()).clone();
                let connection = http.serve_connection(TokioIo::new(socket), service.clone());
                // a connection that is cut ends with an error: that is a fault of ours, or a client's death
                tokio::spawn(async { drop(connection.await) });
            }
        });
        HttpServer { address, runtime: Some(runtime) }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
