//! One endpoint in front of several services: which of them answers, the operation and the body decide.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// Who answers: by `x-amz-target` and body.
pub(crate) type Route = Box<dyn Fn(&str, &Value) -> SocketAddr + Send + Sync>;

/// The endpoint, until it is dropped.
pub(crate) struct Front {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Front {
    /// Stands in front of the servers that `route` tells.
    pub(crate) fn start(route: Route) -> Front {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // without waiting for a future: a test may have a runtime of its own
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener).unwrap()
        };
        runtime.spawn(accept(listener, Arc::new(route)));
        Front { address, runtime: Some(runtime) }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, route: Arc<Route>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let route = Arc::clone(&route);
        tokio::spawn(async move {
            let service = service_fn(|request| forward(Arc::clone(&route), request));
            let http = hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).clone();
            // a connection that a service cuts is cut here too
            drop(http.serve_connection(TokioIo::new(socket), service).await);
        });
    }
}

async fn forward(route: Arc<Route>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let cut = || std::io::Error::other("cut");
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| cut())?.to_bytes();
    let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let upstream = route(target, &serde_json::from_slice(&body).unwrap_or_default());
    let socket = TcpStream::connect(upstream).await.map_err(|_| cut())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await;
    let (mut sender, connection) = handshake.map_err(|_| cut())?;
    let driven = tokio::spawn(connection);
    let answer = sender.send_request(Request::from_parts(head, Full::new(body))).await.map_err(|_| cut())?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|_| cut())?.to_bytes();
    driven.abort();
    Ok(Response::from_parts(head, Full::new(body)))
}
