//! stub
use crate::context::Context;
use crate::errors::Result;
use crate::http::line::Line;
/// A connection needs a person: tell them, once.
pub async fn needs_person(_ctx: &Context, _line: &Line, _code: &str, _message: &str) -> Result<()> {
    Ok(())
}
