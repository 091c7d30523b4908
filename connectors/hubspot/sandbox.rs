//! HubSpot's simulator: not written yet.
use crate::sdk::{Act, App, Fault, Millis, OutgoingWebhook, Response, Sandbox, SandboxRecord, SandboxReply, SandboxRequest, Stats};
/// HubSpot, simulated.
pub struct HubSpotSandbox;
impl HubSpotSandbox {
    /// An empty one.
    pub fn new(_seed: u64) -> Self {
        Self
    }
}
impl Sandbox for HubSpotSandbox {
    fn register(&mut self, _: App) {}
    fn handle(&mut self, _: &SandboxRequest, _: Millis) -> SandboxReply {
        unreachable!()
    }
    fn webhooks_due(&mut self, _: Millis) -> Vec<OutgoingWebhook> {
        vec![]
    }
    fn webhook_answered(&mut self, _: u64, _: Option<&Response>, _: Millis) {}
    fn act(&mut self, _: Act, _: Millis) -> Result<String, String> {
        unreachable!()
    }
    fn records(&self, _: &str) -> Vec<SandboxRecord> {
        vec![]
    }
    fn inject(&mut self, _: Fault) {}
    fn stats(&self) -> Stats {
        Stats::default()
    }
    fn token(&mut self, _: Millis) -> String {
        unreachable!()
    }
    fn fork(&self) -> Box<dyn Sandbox> {
        unreachable!()
    }
}
