//! Raw bodies through the SDK: its credentials, signature, endpoint, connection, timeouts and errors, but our bytes sent
//! and the server's bytes received.
//!
//! An interceptor replaces the body that the SDK serialized before it is signed. When the answer is a success, it puts
//! its own deserializer in the place of the generated one: that keeps the body and gives an empty output. Any other
//! answer is left to the SDK. So an item is never a tree of values, neither here nor there, and its numbers are the
//! server's text. Must not know: what the bytes say.

use super::refusal::is_damaged;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut, Error, Output,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError, SensitiveOutput};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use std::sync::{Arc, OnceLock};

/// Where the body of a successful answer is kept.
#[derive(Clone, Debug, Default)]
pub(in crate::driver) struct Answer(Arc<OnceLock<SdkBody>>);

impl Answer {
    /// The body; empty before a successful answer.
    pub(in crate::driver) fn bytes(&self) -> &[u8] {
        self.0.get().and_then(SdkBody::bytes).unwrap_or_default()
    }
}

/// One call: what is sent, and where the answer goes.
#[derive(Debug)]
pub(in crate::driver) struct RawCall {
    request: SdkBody,
    answer: Answer,
    empty: fn() -> Output,
}

impl RawCall {
    /// A call that sends `request` and keeps the body of a successful answer in `answer`. `empty` makes the output that
    /// the SDK wants to see.
    pub(in crate::driver) fn new(request: Vec<u8>, answer: &Answer, empty: fn() -> Output) -> RawCall {
        RawCall { request: SdkBody::from(request), answer: answer.clone(), empty }
    }
}

#[dyn_dispatch_hint]
impl Intercept for RawCall {
    fn name(&self) -> &'static str {
        "RawCall"
    }

    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = self.request.try_clone().ok_or("the body lies in memory")?;
        let request = context.request_mut();
        if let Some(length) = body.content_length() {
            request.headers_mut().try_insert("content-length", length.to_string())?;
        }
        *request.body_mut() = body;
        // the SDK logs whole answers on its most talkative level
        cfg.interceptor_state().store_put(SensitiveOutput);
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().status().is_success() {
            let keep = Keep { answer: self.answer.clone(), empty: self.empty };
            cfg.interceptor_state().store_put(SharedResponseDeserializer::new(keep));
        }
        Ok(())
    }
}

/// Keeps the body of a successful answer.
#[derive(Debug)]
struct Keep {
    answer: Answer,
    empty: fn() -> Output,
}

impl DeserializeResponse for Keep {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        let refused = |why: &'static str| OrchestratorError::response(why.into());
        if is_damaged(response) {
            return Err(refused("the answer was damaged on its way: its CRC-32 is another"));
        }
        let kept = response.body().try_clone().ok_or_else(|| refused("the answer lies in memory"))?;
        self.answer.0.set(kept).map_err(|_| refused("a call is answered once"))?;
        Ok((self.empty)())
    }
}
