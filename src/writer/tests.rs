//! Batches into outcomes, against a database whose every answer is scripted.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;

use super::*;
use crate::catalogue::{Table, TableName};
use crate::config::IdConflict;
use crate::message::{Delivery, Envelope, LedgerEntry, Letter, MessageId};
use crate::plan::{Deduplication, Ledger};
use crate::sink::{Entered, LedgerIdentity, Opening};

type Answer = Box<dyn FnMut(&[String]) -> Result<(), Failure> + Send>;

/// Answers each transaction by its IDs; remembers them, and its probes.
#[derive(Clone)]
struct Script {
    answer: Arc<Mutex<Answer>>,
    probe: Arc<Mutex<Vec<Result<(), Failure>>>>,
    log: Arc<Mutex<Vec<Vec<String>>>>,
    connects: Arc<Mutex<u32>>,
    /// Transactions never end.
    hangs: bool,
}

struct Scripted(Script);

impl Script {
    fn new(answer: impl FnMut(&[String]) -> Result<(), Failure> + Send + 'static) -> Self {
        let answer: Answer = Box::new(answer);
        Script {
            answer: Arc::new(Mutex::new(answer)),
            probe: Arc::default(),
            log: Arc::default(),
            connects: Arc::default(),
            hangs: false,
        }
    }

    /// What the next probes answer; after them, all pass.
    fn probes(self, answers: impl IntoIterator<Item = Result<(), Failure>>) -> Self {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        *self.probe.lock().unwrap() = answers;
        self
    }

    async fn write(&self, ids: &[&str], how: How) -> Written {
        self.write_units(ids.iter().enumerate().map(|(tag, id)| unit(tag as u64 + 1, id)).collect(), how).await
    }

    async fn write_units(&self, units: Vec<Unit>, how: How) -> Written {
        let text = "[rabbitmq]\nurl = \"amqp://localhost\"\n[database]\nurl = \"sqlite://x.db\"\n\
                    [pipelines.orders]\nqueue = \"orders\"\ntable = \"orders\"\n";
        let config = config::load_str("test.toml", text, &[]).unwrap();
        let mut writer = Writer::new(Arc::new(self.clone()), &config.databases["default"]);
        writer.write(&plan(), units, how).await
    }

    fn transactions(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|ids| ids.join(" ")).collect()
    }
}

impl Database for Script {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Failure>> {
        *self.connects.lock().unwrap() += 1;
        Box::pin(async move { Ok(Box::new(Scripted(self.clone())) as Box<dyn Session>) })
    }

    fn ledger_ddl(&self, _: &TableName) -> String {
        String::new()
    }
}

impl Session for Scripted {
    fn describe<'a>(&'a mut self, _: &'a TableName) -> BoxFuture<'a, Result<Table, Failure>> {
        unreachable!("a writer doesn't look at the catalogue")
    }

    fn check_privileges<'a>(&'a mut self, _: &'a TableName) -> BoxFuture<'a, Result<(), Failure>> {
        unreachable!("a writer doesn't look at privileges")
    }

    fn open_ledger<'a>(
        &'a mut self,
        _: &'a TableName,
        _: &'a LedgerIdentity,
        _: Opening,
    ) -> BoxFuture<'a, Result<Ledger, Failure>> {
        unreachable!("a writer doesn't open ledgers")
    }

    fn write<'a>(
        &'a mut self,
        _: &'a WritePlan,
        units: &'a [&'a Unit],
        _: bool,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Failure>> {
        Box::pin(async move {
            if self.0.hangs {
                std::future::pending::<()>().await;
            }
            let id = |unit: &&Unit| match &unit.letter {
                Some(letter) => letter.row.id.clone(),
                None => unit.ledger.as_ref().unwrap().id.as_str().to_owned(),
            };
            let ids: Vec<String> = units.iter().map(id).collect();
            self.0.log.lock().unwrap().push(ids.clone());
            let answer = (self.0.answer.lock().unwrap())(&ids);
            answer.map(|()| units.iter().map(|_| Outcome::Written).collect())
        })
    }

    fn rehearse<'a>(&'a mut self, _: &'a WritePlan, _: &'a [&'a Unit]) -> BoxFuture<'a, Result<Vec<Outcome>, Failure>> {
        unreachable!("a writer rehearses for the supervisor only")
    }

    fn look_up<'a>(
        &'a mut self,
        _: &'a Ledger,
        _: &'a [&'a LedgerEntry],
    ) -> BoxFuture<'a, Result<Vec<Entered>, Failure>> {
        unreachable!("only `dlq` looks into the ledger")
    }

    fn probe_write<'a>(&'a mut self, _: &'a WritePlan) -> BoxFuture<'a, Result<(), Failure>> {
        let answer = self.0.probe.lock().unwrap().pop().unwrap_or(Ok(()));
        self.0.log.lock().unwrap().push(vec!["probe".to_owned()]);
        Box::pin(async move { answer })
    }

    fn prune<'a>(&'a mut self, _: &'a Ledger, _: Duration, _: u32) -> BoxFuture<'a, Result<u64, Failure>> {
        unreachable!("a writer doesn't prune")
    }

    fn weaknesses(&mut self) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        unreachable!("a writer doesn't ask for weaknesses")
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

fn plan() -> WritePlan {
    let table = TableName { schema: None, name: "ledger".to_owned() };
    WritePlan {
        targets: Vec::new(),
        deduplication: Deduplication::Ledger(Ledger { table, pipeline: 1, emptied: false }),
        id_conflict: IdConflict::DeadLetter,
        letters: None,
    }
}

/// An ID with a body of its own, or `ID/BODY`.
fn unit(tag: u64, text: &str) -> Unit {
    let (id, body) = text.split_once('/').unwrap_or((text, text));
    let envelope = Envelope { body: body.to_owned().into(), ..Envelope::default() };
    let ledger = Some(LedgerEntry { id: MessageId::new(id), body_hash: crate::digest::body_hash(body.as_bytes()) });
    let delivery = Delivery { tag, arrived: Instant::now(), envelope: Box::new(envelope) };
    Unit { delivery, ledger, changes: Vec::new(), attempts: 0, letter: None }
}

fn letter(id: &str) -> Letter {
    let mut row = crate::dead_letter::row(&Envelope::default(), "orders");
    row.id = id.to_owned();
    Letter { failure: failure(ErrorClass::Mapping, "lossy"), attempts: 0, row }
}

fn failure(class: ErrorClass, code: &'static str) -> Failure {
    Failure::new(class, code, "")
}

/// Outcomes as `TAG outcome`, in the order of the batch.
fn outcomes(written: &Written) -> Vec<String> {
    let name = |outcome: &Outcome| match outcome {
        Outcome::Written => "written".to_owned(),
        Outcome::Duplicate => "duplicate".to_owned(),
        Outcome::Rejected(failure) => failure.code.to_string(),
        other => format!("{other:?}"),
    };
    written.settled.iter().map(|(unit, outcome)| format!("{} {}", unit.delivery.tag, name(outcome))).collect()
}

fn left(written: &Written) -> Vec<u64> {
    written.left.iter().map(|unit| unit.delivery.tag).collect()
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_is_left_whole() {
    let script = Script::new(|_| Err(failure(ErrorClass::RowRejected, "22001")));
    let written = script.write(&["a", "b"], How::Together).await;
    assert_eq!((outcomes(&written), left(&written)), (vec![], vec![1, 2]));
    assert_eq!(written.failure.unwrap().code, "22001");
    assert_eq!(written.left[0].attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn bisection_finds_bad_rows_and_children() {
    let script = Script::new(|ids| {
        if ids.iter().any(|id| id == "c") {
            return Err(failure(ErrorClass::RowRejected, "22001"));
        }
        if ids.iter().any(|id| id == "f") { Err(failure(ErrorClass::RowRejected, "23503")) } else { Ok(()) }
    });
    let written = script.write(&["a", "b", "c", "d", "e", "f", "g"], How::Isolate).await;
    assert_eq!(outcomes(&written), ["1 written", "2 written", "3 22001", "4 written", "5 written", "7 written"]);
    assert_eq!(written.waiting.iter().map(|(unit, _)| unit.delivery.tag).collect::<Vec<_>>(), [6]);
    assert!(written.failure.is_none() && written.left.is_empty());
}

/// A dead letter has nowhere else to go: it is left, whatever is wrong with it, and those beside it are
/// written.
#[tokio::test(start_paused = true)]
async fn a_letter_that_is_refused_is_never_rejected() {
    for (class, code, left_as) in [
        (ErrorClass::RowRejected, "23514", ErrorClass::DeadLetterFailed),
        (ErrorClass::Unknown, "F0000", ErrorClass::DeadLetterFailed),
        (ErrorClass::SinkMisconfigured, "42P01", ErrorClass::DeadLetterFailed),
        (ErrorClass::SinkUnavailable, "53100", ErrorClass::SinkUnavailable),
    ] {
        for how in [How::Isolate, How::OneByOne] {
            let script = Script::new(move |ids| match ids.iter().any(|id| id == "dead") {
                true => Err(failure(class, code)),
                false => Ok(()),
            });
            let mut units = vec![unit(1, "a"), unit(2, "dead"), unit(3, "b"), unit(4, "late")];
            for dead in [1, 3] {
                let id = units[dead].ledger.take().unwrap().id;
                units[dead].letter = Some(Box::new(letter(id.as_str())));
            }
            let written = script.write_units(units, how).await;
            let isolated = how == How::Isolate || class == ErrorClass::RowRejected;
            assert!(!isolated || outcomes(&written).len() == 3, "{class} {how:?}: {:?}", outcomes(&written));
            assert!(left(&written).contains(&2), "{class} {how:?}");
            let failed = written.failure.unwrap();
            assert_eq!(failed.class, if isolated { left_as } else { class }, "{how:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn repeats_in_a_batch_follow_their_leader() {
    let script = Script::new(|ids| {
        if ids.iter().any(|id| id == "x") { Err(failure(ErrorClass::RowRejected, "22001")) } else { Ok(()) }
    });
    let written = script.write(&["a/1", "a/1", "a/2"], How::Together).await;
    assert_eq!(outcomes(&written), ["1 written", "2 duplicate", "3 other_body"]);
    assert_eq!(script.transactions(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_whose_leader_is_refused_is_written() {
    let mut refused = false;
    let script = Script::new(move |_| match std::mem::replace(&mut refused, true) {
        false => Err(failure(ErrorClass::RowRejected, "22001")),
        true => Ok(()),
    });
    let written = script.write(&["a/1", "a/2", "a/2"], How::Isolate).await;
    assert_eq!(outcomes(&written), ["1 22001", "2 written", "3 duplicate"]);
}

#[tokio::test(start_paused = true)]
async fn one_by_one_a_few_locked_units_do_not_keep_the_others() {
    let script = Script::new(|ids| match ids[0].as_str() {
        "b" | "d" => Err(failure(ErrorClass::SinkContention, "55P03")),
        _ => Ok(()),
    });
    let written = script.write(&["a", "b", "c", "d", "e"], How::OneByOne).await;
    assert_eq!(outcomes(&written), ["1 written", "3 written", "5 written"]);
    assert_eq!((left(&written), written.failure.unwrap().code.as_ref()), (vec![2, 4], "55P03"));
}

#[tokio::test(start_paused = true)]
async fn one_by_one_many_locked_units_end_the_job() {
    let script = Script::new(|_| Err(failure(ErrorClass::SinkContention, "55P03")));
    let written = script.write(&["a", "b", "c", "d", "e"], How::OneByOne).await;
    assert_eq!((script.transactions().len(), left(&written)), (3, vec![1, 2, 3, 4, 5]));
}

#[tokio::test(start_paused = true)]
async fn contention_is_never_a_rejection() {
    for how in [How::Together, How::OneByOne, How::Isolate] {
        let script = Script::new(|_| Err(failure(ErrorClass::SinkContention, "40P01")));
        let written = script.write(&["a"], how).await;
        assert_eq!((outcomes(&written), left(&written)), (vec![], vec![1]), "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_server_reports_of_itself_is_no_rows_fault() {
    for code in ["53100", "XX000", "58030", "1114", "deadline"] {
        let script = Script::new(move |ids| {
            let hit = ids.iter().any(|id| id == "b");
            if hit { Err(failure(ErrorClass::SinkUnavailable, code)) } else { Ok(()) }
        });
        let written = script.write(&["a", "b", "c"], How::Isolate).await;
        assert_eq!(outcomes(&written), ["1 written", "3 written"], "{code}");
        assert_eq!((left(&written), written.failure.unwrap().code.as_ref()), (vec![2], code));
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_is_found_that_loses_its_connection_whenever_it_is_alone() {
    let script = Script::new(|ids| {
        if ids.iter().any(|id| id == "b") { Err(failure(ErrorClass::SinkUnavailable, "io")) } else { Ok(()) }
    });
    let written = script.write(&["a", "b", "c"], How::Isolate).await;
    assert_eq!(outcomes(&written), ["1 written", "2 connection_lost", "3 written"]);
    assert_eq!(script.transactions().iter().filter(|ids| *ids == "b").count(), 4, "once more after the others");
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_now_and_then_is_no_rows_fault() {
    let mut count = 0;
    let script = Script::new(move |_| {
        count += 1;
        if count % 3 == 0 { Ok(()) } else { Err(failure(ErrorClass::SinkUnavailable, "io")) }
    });
    let written = script.write(&["a", "b", "c"], How::Isolate).await;
    assert!(outcomes(&written).iter().all(|outcome| outcome.ends_with("written")), "{:?}", outcomes(&written));
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_the_search_without_a_verdict() {
    let away = || Err(failure(ErrorClass::SinkUnavailable, "io"));
    let script = Script::new(move |_| away()).probes((0..1000).map(|_| away()));
    let start = Instant::now();
    let written = script.write(&["a", "b"], How::Isolate).await;
    assert_eq!((outcomes(&written), left(&written)), (vec![], vec![1, 2]));
    assert!(start.elapsed() >= RECOVERY && start.elapsed() < 2 * RECOVERY);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_is_tried_between_two_probes() {
    let script = Script::new(|_| Err(failure(ErrorClass::Unknown, "F0001")));
    let written = script.write(&["a"], How::Isolate).await;
    assert_eq!(outcomes(&written), ["1 F0001"]);
    assert_eq!(script.transactions(), ["a", "probe", "a", "probe"]);

    for passing in [0, 1] {
        let refused = Err(failure(ErrorClass::Unknown, "F0001"));
        let probes = std::iter::repeat_n(Ok(()), passing).chain([refused]);
        let script = Script::new(|_| Err(failure(ErrorClass::Unknown, "F0001"))).probes(probes);
        let written = script.write(&["a"], How::Isolate).await;
        assert_eq!(left(&written), [1], "an outage is no row's fault, whenever it begins");
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_without_an_answer_ends_and_its_connection_with_it() {
    let mut script = Script::new(|_| Ok(()));
    script.hangs = true;
    let start = Instant::now();
    let written = script.write(&["a"], How::Together).await;
    assert_eq!((left(&written), written.failure.unwrap().code.as_ref()), (vec![1], "deadline"));
    assert!(start.elapsed() < Duration::from_secs(300));
}

#[tokio::test(start_paused = true)]
async fn a_connection_does_not_outlive_an_error_that_leaves_its_state_unknown() {
    for (class, connects) in [
        (ErrorClass::SinkUnavailable, 2),
        (ErrorClass::Unknown, 2),
        (ErrorClass::RowRejected, 1),
        (ErrorClass::SinkContention, 1),
    ] {
        let script = Script::new(move |_| Err(failure(class, "code")));
        let text = "[rabbitmq]\nurl = \"amqp://localhost\"\n[database]\nurl = \"sqlite://x.db\"\n\
                    [pipelines.orders]\nqueue = \"orders\"\ntable = \"orders\"\n";
        let config = config::load_str("test.toml", text, &[]).unwrap();
        let mut writer = Writer::new(Arc::new(script.clone()), &config.databases["default"]);
        for _ in 0..2 {
            writer.write(&plan(), vec![unit(1, "a")], How::Together).await;
        }
        assert_eq!(*script.connects.lock().unwrap(), connects, "{class}");
    }
}
