//! A simulated world: the real context, stages and sealer on simulated systems, time that passes from one thing that is
//! due to the next, and a process that dies at any point and comes back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use leadshare_connectors::sdk::{Method, OutgoingWebhook, RawRequest, Refused, Response};

use super::network::{Network, Weather};
use super::people::Person;
use super::rng::Rng;
use super::stage::{self, START, Stage};
use crate::clock::{Clock, HOUR, MINUTE, Millis, SECOND};
use crate::context::{Context, Keep};
use crate::errors::{Error, Result};
use crate::http::Transport;
use crate::intake::webhook::{NotTaken, Where, accept};
use crate::ledger::Signer;
use crate::program::Program;
use crate::retention::Round;
use crate::store::{Db, audit, connections, deliveries, dirty, due, inbox, ledger};
use crate::{daemon, pipeline, points, sealer};

/// Rounds after which one moment's work must have come to an end.
const ROUNDS: usize = 60;

/// Where and when the process dies.
struct Deaths {
    rng: Rng,
    per_mille: u32,
    /// A crash loop: dies so many more times at this point.
    again: Option<(&'static str, u32)>,
    network: Arc<Network>,
    /// Where it died last.
    at: &'static str,
}

impl Deaths {
    fn dies(&mut self, point: &'static str) -> bool {
        let doomed = std::mem::take(&mut self.network.inner().doomed);
        let looping = match self.again {
            Some((name, left)) if name == point && self.per_mille > 0 => {
                self.again = (left > 1).then_some((name, left - 1));
                true
            }
            _ => false,
        };
        let dies = looping || doomed || (self.per_mille > 0 && self.rng.chance(self.per_mille));
        if dies && !looping && self.again.is_none() && self.rng.chance(120) {
            self.again = Some((point, 1 + self.rng.below(2) as u32));
        }
        if dies {
            self.at = point;
        }
        dies
    }
}

/// The world of one seed.
pub struct World<'a> {
    /// What it began with.
    pub stage: &'a Stage,
    /// The network and the systems behind it.
    pub network: Arc<Network>,
    /// Our clock.
    pub clock: Clock,
    /// The store.
    pub db: Db,
    /// The process's context; a new one after each crash.
    pub ctx: Arc<Context>,
    /// Signs checkpoints.
    pub signer: Arc<Signer>,
    /// Chance of what people do.
    pub rng: Rng,
    /// The people.
    pub people: Vec<Person>,
    /// Records that recipients' own people made: system, id.
    pub strangers: Vec<(usize, String)>,
    /// Every program that was in force, by its hash.
    pub programs: BTreeMap<String, Program>,
    /// Checkpoints kept outside.
    pub checkpoints: Vec<String>,
    /// What errors said.
    pub errors: Vec<String>,
    /// Versions of agreements.
    pub versions: BTreeMap<(usize, usize), u32>,
    /// Files that were changed, with what was there before.
    pub changed: BTreeMap<String, String>,
    /// How often the process died.
    pub crashes: u64,
    parked: Vec<(Millis, usize, OutgoingWebhook)>,
    order: Rng,
    deaths: Arc<Mutex<Deaths>>,
    /// When people are forgotten of whom nothing was ever shared, and how long they are kept; half of the worlds forget nobody.
    forgets: (Rng, Keep),
}

impl<'a> World<'a> {
    /// A world as it stands at the start.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub async fn new(stage: &'a Stage, seed: u64) -> Result<Self> {
        let clock = Clock::seeded(START + MINUTE, seed | 1);
        let (db, systems) = stage.open(seed).await?;
        let network = Arc::new(Network::new(seed, &clock, &db, systems, stage.shape.fields.contains(&"phone")));
        network.inner().in_force = stage.shape.edges.iter().copied().collect();
        let built = daemon::build_on(&stage.config, &clock, db.clone(), Transport::carried(network.clone())).await?;
        let deaths = Deaths { rng: Rng::new(seed, 4), per_mille: 0, again: None, network: network.clone(), at: "" };
        let rules = built.ctx.rules();
        let mut forgets = Rng::new(seed, 9);
        let never_shared = if forgets.chance(500) { forgets.between(10 * MINUTE, 6 * HOUR) } else { built.ctx.keep.never_shared };
        let keep = Keep { never_shared, ..built.ctx.keep };
        Ok(Self {
            stage,
            network,
            clock,
            db,
            ctx: built.ctx,
            signer: Arc::new(built.signer),
            rng: Rng::new(seed, 5),
            people: Vec::new(),
            strangers: Vec::new(),
            programs: BTreeMap::from([(rules.program.hash.clone(), rules.program.clone())]),
            checkpoints: Vec::new(),
            errors: Vec::new(),
            versions: BTreeMap::new(),
            changed: BTreeMap::new(),
            crashes: 0,
            parked: Vec::new(),
            order: Rng::new(seed, 6),
            deaths: Arc::new(Mutex::new(deaths)),
            forgets: (forgets, keep),
        })
    }

    /// Lets the weather be so.
    pub fn weather(&self, weather: Weather) {
        let mut deaths = self.deaths.lock().unwrap_or_else(PoisonError::into_inner);
        deaths.per_mille = weather.crash;
        self.network.inner().weather = weather;
    }

    /// Notes what happened.
    pub fn note(&self, text: &str) {
        let line = format!("{} {text}", crate::clock::rfc3339(self.clock.now()));
        self.network.inner().trace.line(&line);
    }

    /// The true time of a system.
    pub fn time_of(&self, system: usize) -> Millis {
        self.network.inner().time_of(system, self.clock.now())
    }

    /// Runs until the end, or until the process dies; then it starts again and the answer is `None`.
    async fn live<T>(&mut self, run: impl Future<Output = T>) -> Result<Option<T>> {
        let deaths = self.deaths.clone();
        let plan = move |point: &'static str| deaths.lock().unwrap_or_else(PoisonError::into_inner).dies(point);
        let done = points::until(plan, run).await;
        if done.is_none() {
            self.restart().await?;
        }
        Ok(done)
    }

    async fn restart(&mut self) -> Result<()> {
        let at = self.deaths.lock().unwrap_or_else(PoisonError::into_inner).at;
        self.crashes += 1;
        self.note(&format!("the process dies at {at}"));
        self.network.forget();
        if at == "token.answered" {
            // A rotated token that was heard of and not kept: nobody can repair that.
            let mut inner = self.network.inner();
            inner.systems.iter_mut().filter(|s| s.actor.connector == "salesforce").for_each(|s| s.dead = true);
        }
        let pause = self.order.between(SECOND, 90 * SECOND);
        self.clock.advance(pause);
        self.checkpoints = ledger::checkpoints(&self.db).await?;
        let transport = Transport::carried(self.network.clone());
        let built = daemon::build_on(&self.stage.config, &self.clock, self.db.clone(), transport).await?;
        self.ctx = built.ctx;
        self.signer = Arc::new(built.signer);
        self.keep_program();
        Ok(())
    }

    /// Reads the program's files again.
    ///
    /// # Errors
    /// The store's.
    pub async fn reload(&mut self) -> Result<Vec<crate::errors::Diagnostic>> {
        let found = daemon::reload(&self.ctx, &(&self.stage.config).into()).await?;
        self.keep_program();
        Ok(found)
    }

    fn keep_program(&mut self) {
        let rules = self.ctx.rules();
        self.programs.entry(rules.program.hash.clone()).or_insert_with(|| rules.program.clone());
    }

    /// One connection takes a turn. Answers whether anything was done.
    async fn turn(&mut self, name: &str) -> Result<bool> {
        let ctx = self.ctx.clone();
        let Some(line) = ctx.lines.get(name).cloned() else { return Ok(false) };
        match self.live(Box::pin(pipeline::turn(&ctx, &line))).await? {
            Some(Ok(worked)) => Ok(worked),
            Some(Err(error)) => {
                self.note(&format!("a turn of {name} failed: {error}"));
                self.errors.push(error.to_string());
                Ok(false)
            }
            None => Ok(true),
        }
    }

    async fn seal(&mut self) -> Result<()> {
        let (ctx, signer) = (self.ctx.clone(), self.signer.clone());
        if let Some(Err(error)) = self.live(sealer::run_once(&ctx, &signer)).await? {
            self.errors.push(error.to_string());
        }
        Ok(())
    }

    /// Forgets, now and then, people of whom nothing was ever shared.
    async fn forget(&mut self) -> Result<()> {
        if self.forgets.0.chance(100) {
            let mut round = Round::new(self.forgets.1, self.clock.now());
            let removed = loop {
                if let Some(removed) = round.step(&self.ctx).await? {
                    break removed;
                }
            };
            if removed.people > 0 {
                self.note(&format!("{} people are forgotten", removed.people));
            }
        }
        Ok(())
    }

    /// Does everything that is due at this moment.
    ///
    /// # Errors
    /// The store's.
    pub async fn work(&mut self) -> Result<()> {
        for _ in 0..ROUNDS {
            let mut worked = self.carry_webhooks().await?;
            let db = self.db.clone();
            if let Some(Err(error)) = self.live(inbox::take_in(&db)).await? {
                self.errors.push(error.to_string());
            }
            self.ctx.quiet.keep(&self.db, self.clock.now()).await?;
            let mut names = due::connections(&self.db, self.clock.now()).await?;
            while !names.is_empty() {
                let name = names.swap_remove(self.order.below(names.len()));
                worked |= self.turn(&name).await?;
            }
            if self.order.chance(150) {
                self.seal().await?;
            }
            if !worked {
                return Ok(());
            }
        }
        let left = (dirty::pending(&self.db).await?, deliveries::open(&self.db).await?);
        self.network.inner().breaks(8, format!("work at one moment does not come to an end: {left:?}"));
        Ok(())
    }

    /// When something is due next, after now.
    async fn next(&self) -> Result<Millis> {
        let now = self.clock.now();
        let first = audit::next(&self.db).await?;
        let parked = self.parked.iter().map(|(due, ..)| *due).min();
        let next = first.into_iter().chain(parked).min().unwrap_or(now + HOUR);
        // What is due and was not done waits for something that nobody tells: a lease, a pause.
        Ok(if next <= now { now + 20 * SECOND } else { next.min(now + HOUR) })
    }

    /// Lets time pass, with all work in it.
    ///
    /// # Errors
    /// The store's.
    pub async fn pass_until(&mut self, until: Millis) -> Result<()> {
        loop {
            self.work().await?;
            self.forget().await?;
            let now = self.clock.now();
            if now >= until {
                return Ok(());
            }
            let next = self.next().await?.min(until);
            self.clock.advance(next - now);
        }
    }

    /// Whether anything waits to be read, delivered or settled.
    ///
    /// # Errors
    /// The store's.
    pub async fn busy(&self) -> Result<bool> {
        Ok(!dirty::pending(&self.db).await?.is_empty() || !deliveries::open(&self.db).await?.is_empty() || !self.parked.is_empty())
    }

    /// The faults stop: grants are given again, and everything waits until it is done.
    ///
    /// # Errors
    /// The store's; when a partner cannot be connected again.
    pub async fn settle(&mut self) -> Result<()> {
        self.note("the faults stop");
        self.weather(Weather::default());
        {
            let mut inner = self.network.inner();
            for system in &mut inner.systems {
                use leadshare_connectors::sdk::Fault;
                system.quota_until = 0;
                for fault in [Fault::DailyQuota { until: 0 }, Fault::IndexLag { ms: 0 }, Fault::CommitLag { ms: 0 }] {
                    system.sandbox.inject(fault);
                }
            }
        }
        // Down for so long that every record whose fate is open is due to be looked at.
        self.clock.advance(16 * self.stage.poll_every);
        let pause = self.stage.poll_every + 5 * MINUTE;
        let mut quiet = 0;
        for round in 0..40 {
            self.mend().await?;
            let until = self.clock.now() + pause;
            self.pass_until(until).await?;
            let busy = self.busy().await?;
            quiet = if busy { 0 } else { quiet + 1 };
            if quiet >= 2 && round >= 2 {
                break;
            }
        }
        while sealer::run_once(&self.ctx, &self.signer).await? > 0 {}
        Ok(())
    }

    /// What people do when they are told: partners connect again, operators try again what failed.
    async fn mend(&mut self) -> Result<()> {
        for connection in connections::all(&self.db).await? {
            let Some(i) = self.stage.shape.actors.iter().position(|a| a.name == connection.name) else { continue };
            if connection.state == "reconnect_needed" {
                let (dead, name) = (self.network.inner().systems[i].dead, connection.name.clone());
                if !dead {
                    let why = connection.state_reason.unwrap_or_default();
                    self.network.inner().breaks(7, format!("{name} must be connected again ({why}), and its grant is good"));
                }
                self.note(&format!("{name} is connected again"));
                let actor = self.stage.shape.actors[i].clone();
                self.network.inner().systems[i].dead = false;
                stage::connect(&self.ctx, &self.network, i, &actor).await?;
            }
        }
        if !deliveries::unfinished(&self.db).await?.iter().any(|d| d.3 == "failed") {
            return Ok(());
        }
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        deliveries::retry(&mut tx, "", now).await?;
        tx.commit().await
    }

    /// Partners that are told to connect again do so, now and then.
    ///
    /// # Errors
    /// As [`World::settle`].
    pub async fn people_mend(&mut self) -> Result<()> {
        let weather = self.network.inner().weather;
        self.weather(Weather::default());
        let done = self.mend().await;
        self.weather(weather);
        done
    }

    /// Carries the webhooks that are due, and does to them what networks do. Answers whether there were any.
    async fn carry_webhooks(&mut self) -> Result<bool> {
        let now = self.clock.now();
        let (parked, mut due): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked).into_iter().partition(|(at, ..)| *at > now);
        self.parked = parked;
        let rate = self.network.inner().weather.webhooks;
        for i in 0..self.stage.shape.actors.len() {
            let time = self.time_of(i);
            let hooks = self.network.inner().systems[i].sandbox.webhooks_due(time);
            due.extend(hooks.into_iter().map(|hook| (now, i, hook)));
        }
        let any = !due.is_empty();
        while !due.is_empty() {
            let (at, i, hook) = due.swap_remove(self.order.below(due.len()));
            let fresh = at == now;
            let fate = if self.order.chance(rate) { 1 + self.order.below(4) } else { 0 };
            let answer = match fate {
                1 => None,
                2 if fresh => {
                    let later = now + self.order.between(SECOND, 20 * MINUTE);
                    self.parked.push((later, i, hook.clone()));
                    None
                }
                3 => {
                    self.take(i, &hook).await?;
                    self.take(i, &hook).await?
                }
                4 => {
                    self.take(i, &hook).await?;
                    None
                }
                _ => self.take(i, &hook).await?,
            };
            if fresh {
                let time = self.time_of(i);
                self.network.inner().systems[i].sandbox.webhook_answered(hook.delivery, answer.as_ref(), time);
            }
        }
        Ok(any)
    }

    /// Our side of a webhook; `None` when the process died over it.
    async fn take(&mut self, i: usize, hook: &OutgoingWebhook) -> Result<Option<Response>> {
        let actor = &self.stage.shape.actors[i];
        let to = if actor.connector == "hubspot" { Where::App("hubspot".into()) } else { Where::Connection(actor.name.into()) };
        let raw = RawRequest { method: Method::Post, url: hook.url.clone(), headers: hook.headers.clone(), body: hook.body.clone() };
        let ctx = self.ctx.clone();
        let taken = self.live(accept(&ctx, &to, &raw)).await?;
        let plain = |status: u16, body: String| Some(Response { status, headers: Vec::new(), body: body.into_bytes() });
        let answer = match taken {
            None => None,
            Some(Ok(reply)) => plain(reply.status, reply.body),
            Some(Err(NotTaken::Refused(Refused::WrongAccount))) if matches!(to, Where::App(_)) => plain(200, String::new()),
            Some(Err(error)) => {
                self.errors.push(error.to_string());
                plain(if matches!(error, NotTaken::NotKept) { 503 } else { 401 }, String::new())
            }
        };
        let name = self.stage.shape.actors[i].name;
        self.note(&format!("webhook of {name}: {:?}", answer.as_ref().map(|a| a.status)));
        Ok(answer)
    }

    /// Puts the program's files back as they were.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn restore(&mut self) -> Result<()> {
        for (path, text) in std::mem::take(&mut self.changed) {
            self.stage.write(&path, &text)?;
        }
        Ok(())
    }

    /// Writes one of the program's files; [`World::restore`] undoes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn rewrite(&mut self, path: &str, text: &str) -> Result<()> {
        if !self.changed.contains_key(path) {
            let full = self.stage.dir.join(path);
            let before = std::fs::read_to_string(&full).map_err(|e| Error::System(format!("{}: {e}", full.display())))?;
            self.changed.insert(path.to_owned(), before);
        }
        self.stage.write(path, text)
    }
}
