//! Single messages that can't be written, among others that can.

use std::time::Duration;

use super::rig::{Rig, body, message};
use crate::error::ErrorClass;
use crate::status::State;

/// Everything good is in the table, and these are dead-lettered once, with these codes.
async fn assert_only_dead(rig: &Rig, good: usize, dead: &[(&str, &str)]) {
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!(rig.database.ids().len(), good);
    let mut codes = rig.dead.codes();
    codes.sort();
    let expected: Vec<(String, String)> = dead.iter().map(|(id, code)| ((*id).into(), (*code).into())).collect();
    assert_eq!(codes, expected);
}

#[tokio::test(start_paused = true)]
async fn a_bad_row_costs_no_good_row() {
    let rig = Rig::new();
    rig.publish_good(0..20);
    rig.publish("20", "bad");
    rig.publish_good(21..30);
    rig.publish("30", "broken");
    let _consumer = rig.start();
    assert_only_dead(&rig, 29, &[("20", "22001"), ("30", "not_json")]).await;
    let classes: Vec<ErrorClass> = rig.dead.state().letters.iter().map(|letter| letter.class).collect();
    assert!(classes.contains(&ErrorClass::RowRejected) && classes.contains(&ErrorClass::Decode));
    let attempts = |id: &str| rig.dead.state().letters.iter().find(|letter| letter.id == id).unwrap().attempts;
    assert_eq!(attempts("30"), 0, "no database has seen it");
    assert!(attempts("20") > 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_bad_rows_alone_is_settled_too() {
    let rig = Rig::new();
    rig.publish("0", "bad");
    rig.publish("1", "broken");
    let _consumer = rig.start();
    assert_only_dead(&rig, 0, &[("0", "22001"), ("1", "not_json")]).await;
}

#[tokio::test(start_paused = true)]
async fn a_privilege_missing_for_one_row_is_that_rows_fault() {
    let rig = Rig::new();
    rig.publish_good(0..5);
    rig.publish("5", "policy");
    let _consumer = rig.start();
    assert_only_dead(&rig, 5, &[("5", "42501")]).await;
    assert_eq!(rig.broker.most_returned(), 0, "nothing was given back for it");
}

#[tokio::test(start_paused = true)]
async fn an_empty_ledger_is_no_changed_plan() {
    let rig = Rig::new();
    let _consumer = rig.start();
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.database.state().emptied = true;
    rig.publish("0", "policy");
    assert_only_dead(&rig, 0, &[("0", "42501")]).await;
    assert_eq!(rig.broker.returns(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_error_of_one_row_is_its_fault_when_others_pass() {
    let rig = Rig::new();
    rig.publish_good(0..5);
    rig.publish("5", "strange");
    let _consumer = rig.start();
    assert_only_dead(&rig, 5, &[("5", "F0001")]).await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_error_of_a_lone_row_is_its_fault_when_a_probe_passes() {
    let rig = Rig::new();
    rig.publish("5", "strange");
    let _consumer = rig.start();
    assert_only_dead(&rig, 0, &[("5", "F0001")]).await;
    assert!(rig.database.state().probes > 1);
}

#[tokio::test(start_paused = true)]
async fn unknown_errors_of_everything_are_held() {
    let rig = Rig::new();
    rig.database.state().unknown = false;
    let _consumer = rig.keep(0);
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.database.state().unknown = true;
    rig.publish_good(0..20);
    rig.until_state(State::Holding).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!((rig.dead.len(), rig.broker.acked()), (0, 0));
    rig.database.state().unknown = false;
    assert_only_dead(&rig, 20, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn unknown_errors_that_pass_cost_no_message() {
    for times in 0..80 {
        let rig = Rig::new();
        rig.database.state().unknown_writes = times;
        rig.publish_good(0..8);
        let _consumer = rig.start();
        rig.until_queue_empty().await;
        rig.assert_clean();
        // 4 together, 15 in bisection and 8 more alone is where rows begin to look guilty.
        if times < 4 + 15 + 1 {
            assert_eq!(rig.dead.len(), 0, "after {times} errors");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_kills_its_connection_is_found() {
    let rig = Rig::new();
    rig.publish_good(0..20);
    rig.publish("20", "killer");
    rig.publish_good(21..30);
    let _consumer = rig.start();
    assert_only_dead(&rig, 29, &[("20", "connection_lost")]).await;
}

#[tokio::test(start_paused = true)]
async fn a_row_that_crashes_the_server_is_found_although_it_takes_a_while_to_recover() {
    let rig = Rig::new();
    rig.publish_good(0..20);
    rig.publish("20", "crasher");
    rig.publish_good(21..30);
    let _consumer = rig.start();
    assert_only_dead(&rig, 29, &[("20", "connection_lost")]).await;
    assert_eq!(rig.broker.most_returned(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_costs_no_message_although_probes_fit() {
    let rig = Rig::new();
    let _consumer = rig.keep(0);
    rig.database.state().full = true;
    rig.publish_good(0..20);
    rig.until_state(State::Holding).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((rig.dead.len(), rig.broker.acked()), (0, 0));
    rig.database.state().full = false;
    assert_only_dead(&rig, 20, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_waits_for_its_parent_while_others_pass() {
    let rig = Rig::new();
    rig.publish("0", "child of 50");
    rig.publish_good(1..10);
    let _consumer = rig.start();
    rig.until("the others are written", |rig| rig.database.ids().len() == 9).await;
    rig.publish_good(10..20);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((rig.database.ids().len(), rig.dead.len()), (19, 0));
    assert_eq!(rig.state().0, State::Running);
    rig.publish("50", "good");
    assert_only_dead(&rig, 21, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_whose_parent_never_comes_is_dead_lettered() {
    let rig = Rig::new();
    rig.publish("0", "child of 50");
    rig.publish_good(1..10);
    let _consumer = rig.start();
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(rig.dead.len(), 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(rig.dead.len(), 1);
    assert_only_dead(&rig, 9, &[("0", "23503")]).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_waits_quietly_while_its_database_is_away() {
    let rig = Rig::new();
    rig.publish("0", "child of 50");
    let _consumer = rig.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.database.go_away();
    tokio::time::sleep(Duration::from_secs(60)).await;
    rig.database.come_back();
    rig.publish("50", "good");
    assert_only_dead(&rig, 2, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_id_twice_in_a_batch() {
    let rig = Rig::new();
    rig.publish("1", "good");
    rig.publish("1", "good");
    rig.broker.publish(message("1", body("1", "other")));
    let _consumer = rig.start();
    assert_only_dead(&rig, 1, &[("1", "other_body")]).await;
    assert_eq!(rig.context.status.duplicates.get(), 1);
    assert_eq!(rig.database.state().rows[0].1, body("1", "good"), "the first one counts");
}

#[tokio::test(start_paused = true)]
async fn the_same_id_twice_and_the_first_is_refused() {
    let rig = Rig::new();
    rig.broker.publish(message("1", body("1", "bad")));
    rig.publish("1", "good");
    rig.publish_good(2..5);
    let _consumer = rig.start();
    assert_only_dead(&rig, 4, &[("1", "22001")]).await;
}

#[tokio::test(start_paused = true)]
async fn a_known_id_with_another_body_is_a_conflict_unless_the_config_ignores_it() {
    for (id_conflict, dead) in [(crate::config::IdConflict::DeadLetter, 1), (crate::config::IdConflict::Ignore, 0)] {
        let rig = Rig::with(|pipeline| pipeline.id_conflict = id_conflict);
        rig.publish("1", "good");
        rig.broker.publish(message("1", body("1", "other")));
        rig.start();
        rig.until("both are settled", |rig| rig.broker.acked() == 2).await;
        assert_eq!((rig.database.ids().len(), rig.dead.len()), (1, dead));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_refused_is_not_acked_and_reading_stops() {
    let rig = Rig::new();
    rig.dead.state().away = true;
    rig.publish("0", "bad");
    rig.publish_good(1..4);
    let _consumer = rig.start();
    rig.until_state(State::Holding).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    rig.publish_good(4..10);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((rig.broker.acked(), rig.database.ids().len()), (3, 3));
    rig.dead.state().away = false;
    assert_only_dead(&rig, 9, &[("0", "22001")]).await;
    assert_eq!(rig.state().0, State::Running);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_without_a_confirm_is_published_again() {
    let rig = Rig::new();
    rig.dead.state().lost_confirms = 1;
    rig.publish("0", "bad");
    let _consumer = rig.start();
    rig.until_queue_empty().await;
    rig.assert_clean();
    assert_eq!(rig.dead.len(), 2, "at least once");
    assert_eq!(rig.context.status.dead_lettered_total(), 1, "counted after its confirm");
}
