//! What somebody with write access to the database can do, and that it is found.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::entry::{Body, Entry, Stream};
use super::super::proof::tests::Kept;
use super::super::{Checkpoint, Export, Exported, Held, Plan, Seal, Signer, State, Unsealed, seal};
use super::*;
use crate::clock::Clock;
use crate::vault::Key;

const ORIGIN: &str = "leads.example.com/test";

fn signer() -> Signer {
    Signer::new(ORIGIN, &Key::from_bytes([3; 32])).expect("a signer")
}

fn streams() -> [Stream; 3] {
    [Stream::Agreement("a".to_owned()), Stream::Partner("p".to_owned()), Stream::Program]
}

/// A ledger of entries in streams as the numbers say, sealed in batches of three.
fn ledger(of: &[usize]) -> (Vec<Row>, State) {
    let clock = Clock::test(1_775_000_000_000);
    let entries = of.iter().enumerate().map(|(i, stream)| {
        let body = Body::new().number("n", i as i64).id("share", &clock.id());
        Entry::new(&clock.id(), &streams()[stream % 3], clock.now(), "share.delivered", body).expect("fits")
    });
    let rows = entries.map(|e| Row { id: e.id, stream: e.stream, at: e.at, kind: e.kind, text: e.text, seal: None }).collect();
    sealed(rows)
}

/// Seals the rows anew, as the sealer does, and as somebody could who rewrites everything.
fn sealed(mut rows: Vec<Row>) -> (Vec<Row>, State) {
    let mut state = State::default();
    for rows in rows.chunks_mut(3) {
        let unsealed = rows.iter().map(|r| Unsealed { id: r.id.clone(), stream: r.stream.clone(), text: r.text.clone() });
        let batch = seal(&unsealed.collect::<Vec<_>>(), state);
        for (row, Seal { place, hash }) in rows.iter_mut().zip(batch.seals) {
            row.seal = Some((place, hash));
        }
        state = batch.state;
    }
    (rows, state)
}

/// The checkpoint that a party was handed when the ledger had these rows.
fn checkpoint(rows: &[Row]) -> String {
    let (_, state) = sealed(rows.to_vec());
    let heads = state.heads.into_iter().collect();
    let checkpoint =
        Checkpoint { origin: ORIGIN.to_owned(), size: state.tree.size(), root: state.tree.root(), at: 1_775_000_000_000, heads };
    checkpoint.sign(&signer()).expect("signs")
}

fn check(rows: &[Row], notes: &[String]) -> Report {
    verify(rows, notes.iter().map(String::as_str), &[signer().public()])
}

fn of_streams() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0usize..3, 2..30)
}

/// Rows numbered through again after one was taken out: what a careful thief does.
fn renumber(rows: &mut [Row]) {
    for (index, row) in rows.iter_mut().enumerate() {
        if let Some((place, _)) = &mut row.seal {
            place.index = index as u64;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // Breaks when a ledger that nobody touched is called broken, or its tail is not counted.
    #[test]
    fn an_honest_ledger_is_found_whole(of in of_streams(), cut: prop::sample::Index, tail in 0usize..4) {
        let (mut rows, state) = ledger(&of);
        let notes = [checkpoint(&rows[..cut.index(rows.len())]), checkpoint(&rows), checkpoint(&[])];
        let extra = rows[0].clone();
        rows.extend((0..tail).map(|_| Row { seal: None, ..extra.clone() }));
        let report = check(&rows, &notes);
        prop_assert!(report.ok(), "{:?}", report.problems);
        prop_assert_eq!((report.sealed, report.unsealed, report.checkpoints), (of.len() as u64, tail as u64, 3));
        prop_assert_eq!(report.root, Some(state.tree.root()));
    }

    // Breaks when one flipped bit of an entry's text goes unseen, or is found at the wrong entry.
    #[test]
    fn one_flipped_byte_is_found_in_its_entry(of in of_streams(), at: prop::sample::Index, byte: prop::sample::Index, bit in 0u8..7) {
        let (mut rows, _) = ledger(&of);
        let row = &mut rows[at.index(of.len())];
        let mut bytes = row.text.clone().into_bytes();
        let byte = byte.index(bytes.len());
        bytes[byte] ^= 1 << bit;
        row.text = String::from_utf8(bytes).expect("ASCII stays ASCII");
        let id = row.id.clone();
        let report = check(&rows, &[]);
        prop_assert!(report.problems.iter().any(|p| p.what == What::Altered));
        prop_assert!(report.problems.iter().all(|p| p.entry.as_ref() == Some(&id)), "{:?}", report.problems);
    }

    // Breaks when a changed column, seal or hash goes unseen though the text is untouched.
    #[test]
    fn every_column_counts(of in of_streams(), at: prop::sample::Index, column in 0usize..8) {
        let (mut rows, _) = ledger(&of);
        let notes = [checkpoint(&rows)];
        let row = &mut rows[at.index(of.len())];
        let Some((place, hash)) = &mut row.seal else { unreachable!() };
        match column {
            0 => row.id.push('x'),
            1 => row.stream.push('x'),
            2 => row.at += 1,
            3 => row.kind.push('x'),
            4 => place.index += 1,
            5 => place.seq += 1,
            6 => place.prev = Hash([9; 32]),
            _ => *hash = Hash([9; 32]),
        }
        prop_assert!(!check(&rows, &notes).ok());
    }

    // Breaks when a removed entry goes unseen, whether or not the gap in the tree was closed.
    #[test]
    fn one_removed_entry_is_found(of in of_streams(), at: prop::sample::Index, close: bool) {
        let (mut rows, _) = ledger(&of);
        let notes = [checkpoint(&rows)];
        let at = at.index(of.len());
        rows.remove(at);
        if close {
            renumber(&mut rows);
        }
        let report = check(&rows, &notes);
        prop_assert!(!report.ok());
        if !close && at < rows.len() {
            let found = report.problems.iter().find(|p| p.entry.as_ref() == Some(&rows[at].id)).map(|p| &p.what);
            let here = What::Missing { from: at as u64, to: at as u64 + 1 };
            prop_assert!(report.problems.iter().any(|p| p.what == here), "{found:?}");
        }
    }

    // Breaks when two entries can change places: their texts, or everything but their ids.
    #[test]
    fn two_swapped_entries_are_found(of in of_streams(), a: prop::sample::Index, b: prop::sample::Index, whole: bool) {
        let (mut rows, _) = ledger(&of);
        let notes = [checkpoint(&rows)];
        let (a, b) = (a.index(of.len()), b.index(of.len()));
        prop_assume!(a != b);
        rows.swap(a, b);
        if whole {
            renumber(&mut rows);
        } else {
            let seal = rows[a].seal;
            rows[a].seal = rows[b].seal;
            rows[b].seal = seal;
        }
        prop_assert!(!check(&rows, &notes).ok());
    }

    // Breaks when the newest entries can be cut off; only a checkpoint kept outside shows it.
    #[test]
    fn a_cut_tail_is_found_against_a_checkpoint_kept_outside(of in of_streams(), keep: prop::sample::Index) {
        let (mut rows, _) = ledger(&of);
        let outside = checkpoint(&rows);
        rows.truncate(keep.index(of.len()));
        let inside = checkpoint(&rows);
        prop_assert!(check(&rows, std::slice::from_ref(&inside)).ok());
        let report = check(&rows, &[inside, outside]);
        let cut = What::Cut { size: of.len() as u64, have: rows.len() as u64 };
        prop_assert_eq!(report.problems, [Problem::whole(cut)]);
    }

    // Breaks when rewriting everything so that it agrees with itself passes against an old checkpoint.
    #[test]
    fn a_ledger_written_anew_is_found(of in of_streams(), at: prop::sample::Index, outside: prop::sample::Index) {
        let (rows, _) = ledger(&of);
        let at = at.index(of.len());
        let size = at + 1 + outside.index(of.len() - at);
        let (first, last) = (checkpoint(&rows[..at]), checkpoint(&rows[..size]));
        let mut forged = rows;
        forged[at].text = forged[at].text.replace("\"n\":", "\"n\":1");
        let (forged, _) = sealed(forged);
        prop_assert!(check(&forged, &[]).ok());
        let report = check(&forged, &[last, first]);
        prop_assert_eq!(report.problems, [Problem::whole(What::Root { size: size as u64, after: at as u64 })]);
    }

    // Breaks when a party cannot check its own stream alone, or when an entry of it can be left out,
    // replaced, or kept back at the end.
    #[test]
    fn an_export_proves_its_stream_and_nothing_less(of in of_streams(), old: prop::sample::Index, at: prop::sample::Index, how in 0usize..5) {
        let (rows, _) = ledger(&of);
        let old = old.index(of.len());
        let (export, held) = (export(&rows, &rows[0].stream, old), checkpoint(&rows[..old]));
        let report = export.check([held.as_str()], &[signer().public()]);
        prop_assert!(report.ok(), "{:?}", report.problems);
        prop_assert_eq!(report.sealed, export.entries.len() as u64);
        let text = serde_json::to_string(&export).expect("json");
        prop_assert_eq!(&serde_json::from_str::<Export>(&text).expect("reads"), &export);

        let mut bad = export.clone();
        let at = at.index(bad.entries.len());
        match how {
            0 => drop(bad.entries.remove(at)),
            1 => bad.entries[at].text = bad.entries[at].text.replace("\"n\":", "\"n\":1"),
            2 => drop(bad.entries.pop()),
            3 => bad.entries[at].place.index += 1,
            _ => bad.entries[at].proof.push(Hash::ZERO),
        }
        prop_assert!(!bad.check([held.as_str()], &[signer().public()]).ok());
    }
}

fn export(rows: &[Row], stream: &str, old: usize) -> Export {
    let tree = Kept::of(rows.iter().filter_map(|r| r.seal).map(|(_, hash)| hash));
    let size = rows.len() as u64;
    let own = rows.iter().filter(|r| r.stream == stream);
    let entries = own.filter_map(|r| r.seal.map(|(place, _)| (place, r.text.clone()))).map(|(place, text)| {
        let proof = tree.prove(&Plan::inclusion(place.index, size).expect("inside"));
        Exported { place, text, proof }
    });
    let consistency = Plan::consistency(old as u64, size).map(|plan| Held { size: old as u64, proof: tree.prove(&plan) });
    Export { stream: stream.to_owned(), checkpoint: checkpoint(rows), held: consistency.into_iter().collect(), entries: entries.collect() }
}

// Breaks when a party that holds a checkpoint of another past is told that all is well.
#[test]
fn an_export_must_extend_what_the_party_holds() {
    let (rows, _) = ledger(&[0, 1, 0, 2, 0]);
    let (other, _) = ledger(&[1, 1, 0, 2, 0]);
    let export = export(&rows, "agreement:a", 3);
    let report = export.check([checkpoint(&other[..3]).as_str()], &[signer().public()]);
    assert_eq!(report.problems, [Problem::whole(What::NotExtended { size: 3 })]);
}

// Breaks when an unsigned or foreign checkpoint is relied on.
#[test]
fn checkpoints_of_others_are_refused() {
    let (rows, _) = ledger(&[0, 1, 2]);
    let other = Signer::new(ORIGIN, &Key::from_bytes([4; 32])).expect("a signer");
    let report = verify(&rows, [checkpoint(&rows).as_str()], &[other.public()]);
    assert!(matches!(report.problems.as_slice(), [Problem { what: What::Checkpoint { .. }, .. }]), "{:?}", report.problems);
}

// Breaks when an entry can be replaced and sealed anew as long as its neighbours are left alone.
#[test]
fn a_replaced_entry_is_found_by_the_one_after_it() {
    let (mut rows, _) = ledger(&[0, 1, 0]);
    rows[0].text = rows[0].text.replace("\"n\":0", "\"n\":9");
    rows[0].seal = rows[0].seal.map(|(place, _)| (place, leaf_hash(place, &rows[0].text)));
    let problems = check(&rows, &[]).problems;
    assert_eq!(problems, [Problem::with(&rows[2], What::Chain)]);
}

// Breaks when a party was told that its stream stood elsewhere than it did, and nobody says so.
#[test]
fn a_wrong_head_in_a_checkpoint_is_found() {
    let (rows, state) = ledger(&[0, 1, 0]);
    let heads = vec![("agreement:a".to_owned(), state.heads["partner:p"])];
    let wrong = Checkpoint { origin: ORIGIN.to_owned(), size: 3, root: state.tree.root(), at: 0, heads };
    let problems = check(&rows, &[wrong.sign(&signer()).expect("signs")]).problems;
    assert_eq!(problems.len(), 1);
    assert_eq!((&problems[0].stream, &problems[0].what), (&Some("agreement:a".to_owned()), &What::Head { size: 3, expected: 1 }));
}

// Breaks when the message does not say which stream, which number and what happened.
#[test]
fn problems_are_told_in_plain_words() {
    let (mut rows, _) = ledger(&[0, 0, 0, 1]);
    rows.remove(1);
    rows[2].text = rows[2].text.replace("\"n\":3", "\"n\":4");
    let told: Vec<String> = check(&rows, &[]).problems.iter().map(ToString::to_string).collect();
    let short: BTreeMap<&str, &str> = told.iter().filter_map(|t| Some((t.split_once(": ")?.1, t.split_once(" (")?.0))).collect();
    assert_eq!(short["the entry at place 1, before this one, was removed"], "agreement:a #3");
    assert_eq!(short["was altered after it was sealed"], "partner:p #1");
}
