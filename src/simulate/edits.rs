//! What people do to the program's files in a simulation: edits that count, edits that must not count, broken files.

use super::life::Event;
use super::world::World;
use crate::clock::HOUR;
use crate::errors::{Result, Severity};

impl World<'_> {
    pub(super) async fn in_the_files(&mut self, event: Event) -> Result<()> {
        let Some((from, to)) = self.rng.pick(&self.stage.shape.edges).copied() else { return Ok(()) };
        let path = self.stage.shape.agreement_path(from, to);
        let fields = self.stage.shape.fields.clone();
        let version = self.versions.get(&(from, to)).copied().unwrap_or(1);
        let open = self.network.inner().in_force.contains(&(from, to));
        if !open {
            return Ok(());
        }
        let now_text = self.stage.shape.agreement(from, to, version, &fields, "2030-12-31");
        let before = self.ctx.rules().program.hash.clone();
        let mut same = true;
        match event {
            Event::BrokenFile => {
                let mapping = self.rng.chance(500);
                let path = if mapping { format!("mappings/{}.toml", self.stage.shape.actors[to].name) } else { path.clone() };
                let text = std::fs::read_to_string(self.stage.dir.join(&path)).unwrap_or_default();
                let broken = match self.rng.below(3) {
                    0 => text.chars().take(text.len() / 2).collect::<String>() + "\n[[",
                    1 => format!("unknown_word = 1\n{text}"),
                    _ => String::new(),
                };
                self.rewrite(&path, &broken)?;
                let found = self.reload().await?;
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                let told = found.iter().any(|d| d.severity == Severity::Error && d.file.ends_with(&name) && !d.message.is_empty());
                if !told {
                    self.network.inner().breaks(12, format!("a broken {path} was read, and nothing was said of it"));
                }
                // A crash and a start must not lose the good version either: it stays broken for a while.
                if self.rng.chance(500) {
                    let until = self.clock.now() + HOUR;
                    self.check_files(&before);
                    self.pass_until(until).await?;
                }
                self.check_files(&before);
                self.rewrite(&path, &text)?;
            }
            Event::Operations => {
                let number = self.rng.between(2, 9);
                self.rewrite(&path, &now_text.replace("acknowledge = \"4bh\"", &format!("acknowledge = \"{number}bh\"")))?;
                same = false;
            }
            Event::Unsigned => {
                let less: Vec<&str> = fields.iter().copied().filter(|f| *f != "company").chain(["role"]).collect();
                self.rewrite(&path, &self.stage.shape.terms(from, to, version + 1, &less, "2030-12-31"))?;
            }
            Event::NewTerms => {
                self.versions.insert((from, to), version + 1);
                self.rewrite(&path, &self.stage.shape.agreement(from, to, version + 1, &fields, "2030-12-30"))?;
                same = false;
            }
            Event::EndAgreement => {
                self.versions.insert((from, to), version + 1);
                self.rewrite(&path, &self.stage.shape.agreement(from, to, version + 1, &fields, "2026-06-30"))?;
                self.network.inner().in_force.remove(&(from, to));
                same = false;
            }
            _ => {
                let without: &[&str] = if self.rng.chance(500) { &["first_name"] } else { &[] };
                let text = self.stage.shape.mapping(to, without);
                let path = format!("mappings/{}.toml", self.stage.shape.actors[to].name);
                self.rewrite(&path, &format!("# edited\n{text}"))?;
            }
        }
        self.note(&format!("{event:?} in {path}"));
        self.reload().await?;
        if same {
            self.check_files(&before);
        }
        Ok(())
    }

    /// The rules in force must be what they were.
    fn check_files(&mut self, before: &str) {
        let now = self.ctx.rules();
        let mappings = self.stage.shape.actors.iter().all(|a| !now.of(a.name).is_empty());
        if now.program.hash != before || !mappings {
            self.network.inner().breaks(12, "a file that is broken or not signed changed the rules in force");
        }
    }
}
