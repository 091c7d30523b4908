//! `leadshare check`, as its operator reads it.

use std::process::Stdio;

use super::support::world::{Engine, PLAIN, World};

/// What the command says, and whether all was well.
async fn check(world: &World, more: &[&str]) -> (String, bool) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_leadshare"));
    command.arg("--config").arg(world.dir.join("leadshare.toml")).arg("check").args(more).stdin(Stdio::null());
    let out = command.output().await.unwrap();
    (format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)), out.status.success())
}

// Breaks when `check` calls well what it warns of, or passes in silence over a connection that it cannot ask.
#[tokio::test]
async fn check_says_what_it_looked_at_and_what_not() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    for nobodys in ["lumen", "orchard", "tessera"] {
        std::fs::remove_file(world.dir.join(format!("mappings/{nobodys}.toml"))).unwrap();
    }
    let (said, well) = check(&world, &[]).await;
    assert!(well && said.contains("All is well: 2 connections"), "{said}");
    let (said, well) = check(&world, &["--connections"]).await;
    assert!(well && said.contains("northwind: ok ") && said.contains("brightwater: ok ") && !said.contains("NO"), "{said}");

    std::fs::remove_file(world.dir.join("mappings/brightwater.toml")).unwrap();
    let (said, well) = check(&world, &[]).await;
    assert!(well && said.contains("warning[") && said.contains("No error, one warning") && !said.contains("well"), "{said}");
    let (said, well) = check(&world, &["--connections"]).await;
    assert!(well && said.contains("northwind: ok ") && said.contains("brightwater: not asked: it has no mapping"), "{said}");
}
