//! Tryton: not written yet.
use crate::sdk::{
    Account, AccountFacts, Connector, Incoming, Manifest, Millis, Op, RawRequest, Refused, Saved, Talk, TalkFault, WebhookKey,
};
pub mod sandbox;
/// Speaks to Tryton.
pub struct Tryton;
impl Tryton {
    /// The connector.
    pub fn new() -> Self {
        Self
    }
}
impl Connector for Tryton {
    fn manifest(&self) -> &Manifest {
        unreachable!()
    }
    fn open(&self, _: &Op, _: &Account, _: Option<&Saved>) -> Result<Box<dyn Talk>, TalkFault> {
        unreachable!()
    }
    fn webhook(&self, _: &RawRequest, _: &[WebhookKey], _: Millis) -> Result<Incoming, Refused> {
        unreachable!()
    }
    fn account_facts(&self, _: &serde_json::Map<String, serde_json::Value>) -> AccountFacts {
        unreachable!()
    }
}
