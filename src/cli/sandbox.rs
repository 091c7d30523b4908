//! `leadshare sandbox`: one vendor's simulator, alone.

use std::net::SocketAddr;

use leadshare_connectors::sdk::manifest::Auth;
use leadshare_connectors::sdk::{Act, App};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::errors::{Error, Result, did_you_mean};
use crate::sandbox::Served;

/// Where the simulated app sends browsers back to: the usual `server.listen`.
const REDIRECT: &str = "http://127.0.0.1:8080/oauth/callback";

/// Serves until told to stop. Prints the address, an app and a token to try it with.
pub async fn sandbox(vendor: &str, listen: SocketAddr, seed: u64, json: bool) -> Result<bool> {
    let Some(entry) = leadshare_connectors::by_name(vendor) else {
        let known: Vec<&str> = leadshare_connectors::all().iter().map(|e| e.name).collect();
        let near = did_you_mean(vendor, known.iter().copied()).map(|n| format!("did you mean {n}? ")).unwrap_or_default();
        return Err(Error::BadRequest(format!("no vendor is called {vendor:?}: {near}there are {}", known.join(", "))));
    };
    if !listen.ip().is_loopback() {
        return Err(Error::BadRequest(format!("a simulator listens on this machine only, not on {listen}: use 127.0.0.1")));
    }
    let clock = Clock::system();
    let listener =
        tokio::net::TcpListener::bind(listen).await.map_err(|e| Error::System(format!("{listen} cannot be listened on: {e}")))?;
    let mut made = (entry.sandbox)(seed);
    made.register(App {
        client_id: "sandbox-app".into(),
        client_secret: "sandbox-secret".into(),
        redirect_uri: REDIRECT.into(),
        webhook_url: None,
    });
    // As an administrator would before connecting us; a vendor that has such a field, or cannot have one, says so.
    let connector = (entry.connector)();
    let manifest = connector.manifest();
    for object in &manifest.objects {
        let field = Act::DefineField { object: object.clone(), name: manifest.write.marker_field.clone(), unique: true, options: vec![] };
        let _ = made.act(field, clock.now());
    }
    let (token, tenant) = (made.token(clock.now()), made.tenant());
    let served = Served::start(made, listener, &clock)?;
    let oauth = matches!(manifest.auth, Auth::Oauth2(_));
    if json {
        let app = oauth.then_some(json!({ "client_id": "sandbox-app", "client_secret": "sandbox-secret", "redirect_uri": REDIRECT }));
        let mut said = json!({ "url": served.url(), "token": token, "tenant": tenant });
        if let (Some(said), Some(Value::Object(app))) = (said.as_object_mut(), app) {
            said.extend(app);
        }
        out!("{said}");
    } else {
        out!("{} (simulated) at {}", manifest.title, served.url());
        out!("  {}  {token}", if oauth { "token           " } else { "key             " });
        if let Some(tenant) = tenant {
            out!("  tenant            {tenant}");
        }
        if oauth {
            out!("  client id         sandbox-app\n  client secret     sandbox-secret\n  redirect address  {REDIRECT}");
        }
        out!("Press Ctrl-C to end.");
    }
    tokio::signal::ctrl_c().await.map_err(|e| Error::System(e.to_string()))?;
    Ok(true)
}
