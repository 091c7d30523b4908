//! Pure: from where a share stands and what its record now says, to where it stands next.

use crate::clock::{Millis, SECOND};
use crate::mapping::StatusSeen;
use crate::model::{Progress, ShareStatus, Stand};

/// A change this soon after landing is the recipient's automation (assignment rules, workflows),
/// which sets owner and status within seconds; it proves no person.
pub const AUTOMATION: Millis = 10 * SECOND;

/// The moves that follow from what was seen, in order; empty when nothing moved. Each keeps status
/// and progress apart: delivered is the machine's word, acknowledged a person's look, accepted their yes.
pub fn moves(from: &Stand, seen: &StatusSeen, since_landing: Option<Millis>) -> Vec<Stand> {
    if from.status.ended() {
        return Vec::new();
    }
    let by_person = since_landing.is_none_or(|since| since > AUTOMATION);
    let mut steps: Vec<Stand> = Vec::new();
    let last = |steps: &Vec<Stand>| steps.last().cloned().unwrap_or_else(|| from.clone());

    if let Some(progress) = seen.progress.filter(|p| from.progress != *p && by_person) {
        let undone = match (from.progress, progress) {
            (Progress::Won, p) if p != Progress::Won => Some(Progress::Reversed),
            (Progress::Lost | Progress::Disqualified, p) if open(p) => Some(Progress::Reopened),
            _ => None,
        };
        if let Some(undone) = undone {
            steps.push(Stand { progress: undone, ..last(&steps) });
        }
        steps.push(Stand { progress, ..last(&steps) });
    }
    let held = last(&steps).status;
    let implied = match last(&steps).progress {
        Progress::Converted | Progress::Won => Some(ShareStatus::Accepted),
        Progress::New => None,
        _ => Some(ShareStatus::Acknowledged),
    };
    let moved = (seen.moved_off_landed && by_person).then_some(ShareStatus::Acknowledged);
    let wanted = seen.share_status.filter(|_| by_person).or(implied.max(moved).filter(|_| by_person));
    if let Some(status) = wanted.filter(|s| *s > held || matches!(s, ShareStatus::Declined | ShareStatus::Returned)) {
        let mut stand = last(&steps);
        stand.status = status;
        // One move with both when progress moved too: people read one line, not two.
        match steps.last_mut() {
            Some(step) => step.status = status,
            None => steps.push(stand),
        }
    }
    if seen.amount.is_some() && seen.amount != from.amount {
        match steps.last_mut() {
            Some(step) => step.amount.clone_from(&seen.amount),
            None => steps.push(Stand { amount: seen.amount.clone(), ..from.clone() }),
        }
    }
    if let Some(step) = steps.last_mut() {
        step.reason.clone_from(&seen.reason_code);
    }
    steps
}

fn open(progress: Progress) -> bool {
    matches!(progress, Progress::New | Progress::Attempted | Progress::Reached | Progress::Qualified | Progress::Converted | Progress::Won)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(progress: Option<Progress>, moved: bool) -> StatusSeen {
        StatusSeen {
            progress,
            share_status: None,
            raw: None,
            known: true,
            reason_code: None,
            amount: None,
            currency: None,
            moved_off_landed: moved,
        }
    }
    fn stand(status: ShareStatus, progress: Progress) -> Stand {
        Stand { status, progress, reason: None, amount: None }
    }
    const LATER: Option<Millis> = Some(60 * SECOND);

    // Breaks when an assignment rule that moves the status within seconds counts as a person.
    #[test]
    fn automation_right_after_landing_acknowledges_nothing() {
        let from = stand(ShareStatus::Delivered, Progress::New);
        assert!(moves(&from, &seen(Some(Progress::Attempted), true), Some(3 * SECOND)).is_empty());
        assert_eq!(moves(&from, &seen(Some(Progress::Attempted), true), LATER), [stand(ShareStatus::Acknowledged, Progress::Attempted)]);
    }

    // Breaks when acknowledged and accepted are blurred.
    #[test]
    fn a_conversion_accepts_and_a_call_only_acknowledges() {
        let from = stand(ShareStatus::Delivered, Progress::New);
        assert_eq!(moves(&from, &seen(Some(Progress::Reached), true), LATER)[0].status, ShareStatus::Acknowledged);
        assert_eq!(moves(&from, &seen(Some(Progress::Converted), true), LATER)[0].status, ShareStatus::Accepted);
    }

    // Breaks when a won deal that is cancelled, or a lost one that is taken up again, vanishes from history.
    #[test]
    fn life_moves_backwards_through_events_of_its_own() {
        let won = stand(ShareStatus::Accepted, Progress::Won);
        let back: Vec<Progress> = moves(&won, &seen(Some(Progress::Lost), true), LATER).into_iter().map(|s| s.progress).collect();
        assert_eq!(back, [Progress::Reversed, Progress::Lost]);
        let lost = stand(ShareStatus::Accepted, Progress::Lost);
        let back: Vec<Progress> = moves(&lost, &seen(Some(Progress::Reached), true), LATER).into_iter().map(|s| s.progress).collect();
        assert_eq!(back, [Progress::Reopened, Progress::Reached]);
    }

    // Breaks when a share that ended comes back to life because its record moved.
    #[test]
    fn an_ended_share_stays_ended() {
        assert!(moves(&stand(ShareStatus::Returned, Progress::New), &seen(Some(Progress::Won), true), LATER).is_empty());
    }

    // Breaks when the same record read again makes another event.
    #[test]
    fn the_same_again_is_no_move() {
        let from = stand(ShareStatus::Acknowledged, Progress::Reached);
        assert!(moves(&from, &seen(Some(Progress::Reached), true), LATER).is_empty());
    }
}
