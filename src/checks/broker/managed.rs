//! What AMQP doesn't tell of a queue, as far as the management API does.

use std::time::Duration;

use super::{Look, pattern, shell};
use crate::checks::{Finding, clock};
use crate::config::show_duration;
use crate::guarantee::Gap;
use crate::rabbitmq::{BrokerVersion, Management, NodeTimeout, QueueFacts};

/// From here on a queue's own consumer timeout means something; before, it is taken and ignored.
const QUEUES_OWN_TIMEOUT: BrokerVersion = BrokerVersion { major: 3, minor: 12 };

/// The delivery limit of quorum queues that state none, from 4.0 on.
const DEFAULT_LIMIT: i64 = 20;

impl Look<'_> {
    /// Nobody can be asked, and why.
    pub(super) fn not_managed(&mut self, why: &str) {
        for what in ["queue type", "delivery limit", "broker's dead-lettering", "policies"] {
            self.add(Finding::unknown(what, why));
        }
        self.untold_timeout(why);
    }

    pub(super) async fn managed(&mut self, management: &Management, there: bool) {
        let facts = match management.queue(&self.vhost, &self.pipeline.queue).await {
            Ok(facts) => facts,
            Err(failure) => {
                let todo = "check management_url, and that the user has the tag `management`";
                self.add(Finding::warning("management", failure.message.as_ref()).todo(todo));
                return self.not_managed("not known (the management API doesn't tell)");
            }
        };
        let Some(facts) = facts else {
            if there {
                self.add(Finding::warning("management", "the API knows nothing of the queue: is it another broker's?"));
            }
            return self.not_managed(if there {
                "not known (the API doesn't know the queue)"
            } else {
                "not known (no queue)"
            });
        };
        self.kind(&facts);
        if let Ok(Some(theirs)) = management.clock().await {
            let why = "times to live run by the broker's clock, and its log can't be compared with ours";
            self.add(clock("the broker's", theirs, why));
        }
        if facts.policies_known {
            self.side.known = true;
            let policies = match facts.policies.as_slice() {
                [] => "none applies".to_owned(),
                [one] => format!("{one} applies"),
                several => format!("{} apply", several.join(" and ")),
            };
            self.add(Finding::ok("policies", policies));
            self.limit(&facts);
            self.dead_lettering(&facts, management).await;
            self.lifetimes("lifetime", "", &facts);
            self.timeout(&facts, management).await;
        } else {
            let why = "not known (the API has no statistics, and without them it tells no policies)";
            for what in ["delivery limit", "broker's dead-lettering", "policies"] {
                self.add(Finding::unknown(what, why));
            }
            self.untold_timeout(why);
        }
    }

    /// The queue of dead letters, where it is there: what it drops is gone for good.
    pub(super) async fn letters(&mut self, management: &Management) {
        let Some(queue) = self.pipeline.dead_letter.queue() else { return };
        // A failure of the API's is said already, of the queue itself.
        let Ok(Some(facts)) = management.queue(&self.vhost, queue).await else { return };
        if !facts.durable || facts.auto_delete {
            let text = format!("{queue} doesn't outlive a restart of the broker, or its last consumer");
            self.gap("dead letters", text, "declare it durable", None);
        }
        self.lifetimes("dead letters", &format!("{queue}: "), &facts);
    }

    fn kind(&mut self, facts: &QueueFacts) {
        let queue = &self.pipeline.queue;
        let finding = match facts.kind.as_str() {
            "stream" => Finding::wrong("queue type", format!("{queue} is a stream"))
                .todo("streams can't be read yet: name a queue"),
            _ if facts.exclusive => Finding::wrong("queue type", format!("{queue} is exclusive to another connection")),
            kind => Finding::ok("queue type", format!("{kind}{}", if facts.durable { ", durable" } else { "" })),
        };
        self.add(finding);
        if !facts.durable || facts.auto_delete {
            let what =
                if facts.durable { "goes with its last consumer" } else { "doesn't outlive a restart of the broker" };
            self.gap("queue type", format!("{queue} {what}, with its messages"), "declare it durable", None);
        }
        if facts.single_active && !self.pipeline.single_active_consumer {
            let text = "single active consumer: its order is kept only by a pipeline that knows";
            let finding = Finding::warning("queue type", text).todo("set consumers = 1, and say it in the pipeline");
            self.add(finding.mend("single_active_consumer = true"));
        }
        if !facts.single_active && self.pipeline.single_active_consumer {
            let text =
                format!("{} has no single active consumer: processes share it, in no order", self.pipeline.queue);
            self.add(Finding::wrong("queue type", text).todo("declare it with x-single-active-consumer = true"));
        }
        if facts.max_priority.is_some() && usize::from(self.pipeline.prefetch) > 2 * self.pipeline.batch.max_rows {
            let text = "a priority queue: priorities mean nothing among messages that are delivered already";
            self.add(Finding::warning("queue type", text).todo("lower prefetch to 2 × batch.max_rows"));
        }
    }

    fn limit(&mut self, facts: &QueueFacts) {
        // Before, a limit below 0 is taken, and the first return is one too many.
        let unlimited = self.connection.version() >= Some(BrokerVersion::UNLIMITED_DELIVERIES);
        let limit = match facts.delivery_limit {
            _ if facts.kind != "quorum" => None,
            None => unlimited.then_some(DEFAULT_LIMIT),
            Some(limit) if limit < 0 => (!unlimited).then_some(0),
            limit => limit,
        };
        match (limit, &facts.dead_letter_exchange) {
            (None, _) => self.add(Finding::ok("delivery limit", "none")),
            (Some(limit), Some(_)) => {
                let text = format!("{limit}; what comes back more often is dead-lettered by the broker");
                self.add(Finding::ok("delivery limit", text));
            }
            (Some(limit), None) => {
                let text =
                    format!("{limit}, and no dead-letter exchange: a message that comes back more often is lost");
                let mend = format!(
                    "rabbitmqctl set_policy -p {} {}-limit {} '{{\"delivery-limit\": 1000000}}' --apply-to queues",
                    shell(&self.vhost),
                    self.pipeline.name,
                    pattern(&[&self.pipeline.queue])
                );
                self.gap("delivery limit", text, "raise the delivery limit, or set a dead-letter exchange", Some(mend));
            }
        }
    }

    async fn dead_lettering(&mut self, facts: &QueueFacts, management: &Management) {
        const CHECK: &str = "broker's dead-lettering";
        let Some(exchange) = facts.dead_letter_exchange.as_deref() else {
            let none = "none; rejected messages are dead-lettered by the worker";
            return self.add(Finding::ok(CHECK, none));
        };
        match self.nowhere(exchange, facts.dead_letter_key.as_deref(), management).await {
            Ok(None) => {
                let to = if exchange.is_empty() {
                    "the default exchange".to_owned()
                } else {
                    format!("exchange {exchange:?}")
                };
                self.add(Finding::ok(CHECK, format!("to {to}")));
            }
            Ok(Some((what, remedy))) => self.gap(CHECK, format!("{what}: the broker drops in silence"), &remedy, None),
            Err(failure) => self.add(Finding::unknown(CHECK, failure.message.as_ref())),
        }
    }

    /// Why dead letters of the broker's own would get nowhere, and what helps, as far as it can be told without a
    /// message: `None` where they may get somewhere.
    async fn nowhere(
        &self,
        exchange: &str,
        key: Option<&str>,
        management: &Management,
    ) -> Result<Option<(String, String)>, crate::error::Failure> {
        if exchange.is_empty() {
            // By the message's own key otherwise, which nobody knows.
            let Some(queue) = key else { return Ok(None) };
            let there = management.queue_exists(&self.vhost, queue).await?;
            let missing = || (format!("the queue {queue:?} doesn't exist"), format!("create the queue {queue}"));
            return Ok((!there).then(missing));
        }
        Ok(match management.bound(&self.vhost, exchange).await? {
            None => Some((
                format!("the exchange {exchange:?} doesn't exist"),
                "create the dead-letter exchange, and bind a queue to it".to_owned(),
            )),
            Some(false) => Some((
                format!("nothing is bound to the exchange {exchange:?}"),
                "bind a queue to the dead-letter exchange".to_owned(),
            )),
            Some(true) => None,
        })
    }

    /// `whose`: in front of what is said.
    fn lifetimes(&mut self, check: &'static str, whose: &str, facts: &QueueFacts) {
        let kept = facts.dead_letter_exchange.is_some();
        if let Some(ttl) = facts.message_ttl.filter(|_| !kept) {
            let text = format!("{whose}messages are dropped after {ttl} ms");
            self.gap(check, text, "take the time to live off the queue", None);
        }
        if let Some(length) = facts.max_length.as_ref().filter(|length| !kept && !length.contains("reject")) {
            let text = format!("{whose}messages are dropped beyond {length}");
            self.gap(check, text, "set overflow = reject-publish, or take the length off the queue", None);
        }
        if let Some(expires) = facts.expires {
            let text = format!("{whose}the queue is deleted after {expires} ms without a consumer");
            self.gap(check, text, "take `expires` off the queue", None);
        }
    }

    /// The queue's own goes before the node's.
    async fn timeout(&mut self, facts: &QueueFacts, management: &Management) {
        let heeded = self.connection.version() >= Some(QUEUES_OWN_TIMEOUT);
        let own = facts.consumer_timeout.filter(|_| heeded);
        if let Some(own) = own.and_then(|millis| u64::try_from(millis).ok()) {
            return self.beside_hold(Duration::from_millis(own), "on this queue");
        }
        match management.node_timeout().await {
            Ok(NodeTimeout::After(timeout)) => {
                self.beside_hold(timeout, &format!("on the node at {}", management.place()))
            }
            Ok(NodeTimeout::Never) => {
                self.add(Finding::ok("consumer timeout", format!("none on the node at {}", management.place())));
            }
            Ok(NodeTimeout::Untold(why)) => self.untold_timeout(&match facts.consumer_timeout {
                Some(_) => format!("not known (RabbitMQ heeds the queue's from {QUEUES_OWN_TIMEOUT} on; {why})"),
                None => format!("not known ({why})"),
            }),
            Err(failure) => self.untold_timeout(&format!("not known ({})", failure.message)),
        }
    }

    fn beside_hold(&mut self, timeout: Duration, place: &str) {
        let hold = self.pipeline.retry.hold;
        let (shown, held) = (show_duration(timeout), show_duration(hold));
        self.add(if timeout <= hold {
            Finding::wrong("consumer timeout", format!("{shown} {place}, and retry.hold is {held}"))
                .todo("lower retry.hold below it: the broker would take the messages back first")
        } else {
            Finding::ok("consumer timeout", format!("{shown} {place}, above retry.hold ({held})"))
        });
    }

    /// The config's word stands for it, and the command that only the node itself answers.
    fn untold_timeout(&mut self, why: &str) {
        let assumed = show_duration(self.broker.consumer_timeout);
        self.add(
            Finding::unknown("consumer timeout", format!("{why}; taken for {assumed}, as consumer_timeout says"))
                .todo("state it in consumer_timeout if it differs")
                .mend("rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'"),
        );
    }

    /// A warning that also speaks against the guarantee.
    fn gap(&mut self, check: &'static str, what: String, remedy: &str, mend: Option<String>) {
        let finding = Finding::warning(check, what.as_str()).todo(remedy);
        self.add(match mend {
            Some(mend) => finding.mend(mend),
            None => finding,
        });
        self.side.gaps.push(Gap { what, remedy: remedy.to_owned() });
    }
}
