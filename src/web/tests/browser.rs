//! Serves filled, empty and failing pages for a real browser: see `tests/browser`.

use std::net::SocketAddr;

use super::World;
use crate::clock::DAY;
use crate::oauth::authorize::make_link;
use crate::web::auth::AdminAuth;

// Not a test by itself: `tests/browser/run` starts it, reads the addresses from its output and ends
// it by closing its input.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "serves pages until its input closes; started by tests/browser/run"]
async fn serve_for_the_browser() {
    let mut served = Vec::new();
    for (name, filled, with_password) in [("full", true, false), ("empty", false, false), ("guarded", true, true)] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let admin = if with_password { AdminAuth::Password(super::PASSWORD.into()) } else { AdminAuth::Open };
        let world = World::with(admin, &format!("http://{address}")).await;
        if filled {
            world.fill().await;
        } else {
            world.vendor.held().has_marker = false;
        }
        let link = make_link(&world.ctx, "northwind-crm", DAY).await.expect("a link");
        println!("serving {name} http://{address} {link}");
        let router = world.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
        served.push(world);
    }
    let end = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    end.await.expect("the reader").expect("an input that ends");
}
