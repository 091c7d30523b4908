//! The demo's terminal: what happens, while it happens.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Progress;
use super::count::Figures;

/// Bars and lines on standard error; standard output is for the figures.
pub struct View {
    screen: Option<Screen>,
    told: bool,
}

struct Screen {
    bars: MultiProgress,
    taken: ProgressBar,
    delivered: ProgressBar,
    worked: ProgressBar,
    told: ProgressBar,
    outcomes: ProgressBar,
}

fn bar(bars: &MultiProgress, label: &'static str, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("  {{prefix:<23}} {{bar:32.{what}}} {{pos:>5}} / {{len:<5}} {{msg}}"));
    let bar = bars.add(ProgressBar::new(0).with_prefix(label));
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("█▉▊▋▌▍▎▏ "));
    bar
}

impl View {
    /// A view; without `show` it only says lines, and without `say` nothing at all.
    pub fn new(show: bool, say: bool) -> Self {
        if !show {
            return Self { screen: None, told: say };
        }
        let bars = MultiProgress::new();
        let (taken, delivered) = (bar(&bars, "changes taken in", "cyan"), bar(&bars, "leads delivered", "green"));
        let (worked, told) = (bar(&bars, "worked on by recipients", "yellow"), bar(&bars, "sharers told", "magenta"));
        let outcomes = bars.add(ProgressBar::new_spinner());
        outcomes.set_style(ProgressStyle::with_template("  {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
        for bar in [&taken, &delivered, &worked, &told, &outcomes] {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { screen: Some(Screen { bars, taken, delivered, worked, told, outcomes }), told: true }
    }

    /// Says a line.
    pub fn say(&self, line: &str) {
        match &self.screen {
            Some(screen) => drop(screen.bars.println(line)),
            None if self.told => eprintln!("{line}"),
            None => {}
        }
    }

    /// So many records have been entered at the sharers.
    pub fn begin(&self, records: u64) {
        self.say(&format!("{records} records entered at three sharing partners"));
        if let Some(screen) = &self.screen {
            screen.taken.set_length(records);
        }
    }

    /// How far things are.
    pub fn update(&self, progress: &Progress, worked: usize) {
        let Some(screen) = &self.screen else { return };
        let ended = u64::try_from(progress.ended).unwrap_or_default();
        screen.taken.set_length(screen.taken.length().unwrap_or_default().max(ended));
        screen.taken.set_position(ended);
        let shares = u64::try_from(progress.shares).unwrap_or_default();
        let delivered = u64::try_from(progress.delivered).unwrap_or_default();
        screen.delivered.set_length(shares);
        screen.delivered.set_position(delivered);
        screen.worked.set_length(delivered);
        screen.worked.set_position(worked as u64);
        screen.told.set_length(delivered);
        screen.told.set_position(progress.synced_back as u64);
        let mut outcomes: Vec<String> = progress.outcomes.iter().map(|(outcome, n)| format!("{outcome} {n}")).collect();
        if progress.alerts > 0 {
            outcomes.push(format!("needs a person {}", progress.alerts));
        }
        screen.outcomes.set_message(outcomes.join("  ·  "));
    }

    /// What came of it.
    pub fn finish(&self, figures: &Figures) {
        for bar in self.screen.iter().flat_map(|screen| [&screen.taken, &screen.delivered, &screen.worked, &screen.told, &screen.outcomes])
        {
            bar.abandon();
        }
        self.say("");
        self.say(&format!("  {:>5}  changes, each with exactly one outcome", figures.changes));
        for (outcome, count) in &figures.outcomes {
            self.say(&format!("         {count:>5}  {outcome}"));
        }
        self.say(&format!(
            "  {:>5}  leads delivered, {} records of ours at the recipients",
            figures.delivered, figures.records_at_recipients
        ));
        self.say(&format!("  {:>5}  people twice at a recipient", figures.duplicates_at_recipients));
        self.say(&format!("  {:>5}  left without consent", figures.left_without_consent));
        self.say(&format!("  {:>5}  sharers' records that tell what became of the lead", figures.status_synced_back));
        let untold = figures.delivered - figures.status_synced_back as i64;
        if untold > 0 {
            self.say(&format!("  {untold:>5}  that tell nothing yet: in Tryton's state nothing shows before somebody takes the lead up"));
        }
        self.say(&format!("  {:>5}  requests refused for the rate", figures.vendor_429));
        self.say(&format!("  {:>5.1}  seconds", figures.elapsed_ms as f64 / 1_000.0));
    }
}
