//! What an answer of the API means.

use std::time::Duration;

use serde_json::Value;

/// What the API says of a queue; arguments and policies together, as they are in effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueFacts {
    /// `classic`, `quorum`, `stream`.
    pub kind: String,
    /// It outlives a restart of the broker.
    pub durable: bool,
    /// Another connection owns it.
    pub exclusive: bool,
    /// It goes with its last consumer.
    pub auto_delete: bool,
    /// The API tells which policies apply. Otherwise they may say anything, and what follows are the arguments alone.
    pub policies_known: bool,
    /// The policies that apply, operators' own among them.
    pub policies: Vec<String>,
    /// Returns after which the broker drops or dead-letters a message, where it is stated; below 0: none, from RabbitMQ
    /// 4.0 on.
    pub delivery_limit: Option<i64>,
    /// Where the broker itself sends what it drops; empty: the default exchange.
    pub dead_letter_exchange: Option<String>,
    /// By which key, instead of the message's own.
    pub dead_letter_key: Option<String>,
    /// Milliseconds after which messages are dropped.
    pub message_ttl: Option<i64>,
    /// Milliseconds without use after which the queue is deleted.
    pub expires: Option<i64>,
    /// The most messages, or bytes, and what becomes of more.
    pub max_length: Option<String>,
    /// One consumer at a time.
    pub single_active: bool,
    /// The highest priority, where it has priorities.
    pub max_priority: Option<i64>,
    /// Milliseconds, where the queue or a policy sets its own.
    pub consumer_timeout: Option<i64>,
}

impl QueueFacts {
    /// Reads an answer. Where both an argument and a policy give a number, the lower one is in effect; of other settings,
    /// the argument.
    pub(super) fn read(queue: &Value) -> QueueFacts {
        let argument = |name: &str| queue.get("arguments")?.get(format!("x-{name}"));
        let policy = |name: &str| queue.get("effective_policy_definition")?.get(name);
        let number = |name| {
            let numbers = [argument(name), policy(name)].into_iter().flatten();
            numbers.filter_map(Value::as_i64).min()
        };
        let text = |name| argument(name).or_else(|| policy(name)).and_then(Value::as_str).map(str::to_owned);
        let flag = |name| queue.get(name).and_then(Value::as_bool).unwrap_or(false);
        let name = |key| queue.get(key).and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned);
        let overflow = text("overflow").unwrap_or_else(|| "drop-head".to_owned());
        let limit = ["max-length", "max-length-bytes"]
            .into_iter()
            .find_map(|name| Some(format!("{name} {}, {overflow}", number(name)?)));
        QueueFacts {
            kind: queue.get("type").and_then(Value::as_str).unwrap_or("classic").to_owned(),
            durable: flag("durable"),
            exclusive: flag("exclusive"),
            auto_delete: flag("auto_delete"),
            policies_known: queue.get("policy").is_some() && queue.get("effective_policy_definition").is_some(),
            policies: ["policy", "operator_policy"].into_iter().filter_map(name).collect(),
            delivery_limit: stated_limit(queue).or_else(|| number("delivery-limit")),
            dead_letter_exchange: text("dead-letter-exchange"),
            dead_letter_key: text("dead-letter-routing-key"),
            message_ttl: number("message-ttl"),
            expires: number("expires"),
            max_length: limit,
            single_active: argument("single-active-consumer").and_then(Value::as_bool).unwrap_or(false),
            max_priority: number("max-priority"),
            consumer_timeout: number("consumer-timeout"),
        }
    }
}

/// The limit as the queue itself says it, from RabbitMQ 4.0 on: there -1 in one place gives way to a limit in the other.
fn stated_limit(queue: &Value) -> Option<i64> {
    match queue.get("delivery_limit")? {
        Value::String(word) if word == "unlimited" => Some(-1),
        limit => limit.as_i64(),
    }
}

/// After which time without an acknowledgement a node takes a consumer's messages back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeTimeout {
    /// After this time.
    After(Duration),
    /// Never.
    Never,
    /// The API doesn't say; why.
    Untold(&'static str),
}

impl NodeTimeout {
    /// Finds it among a node's settings, which the API prints as Erlang terms. Nothing else of them is kept: there may be
    /// secrets among them.
    pub(super) fn read(settings: &str) -> NodeTimeout {
        let strange = NodeTimeout::Untold("the API tells the node's in words that aren't understood");
        let mut places = settings.split("{consumer_timeout,").skip(1);
        let (Some(behind), None) = (places.next(), places.next()) else { return strange };
        match behind.split('}').next().unwrap_or_default().trim() {
            "undefined" | "infinity" => NodeTimeout::Never,
            digits => digits.parse().map_or(strange, |millis| NodeTimeout::After(Duration::from_millis(millis))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts(queue: &Value) -> QueueFacts {
        QueueFacts::read(queue)
    }

    #[test]
    fn the_lower_number_counts_and_else_the_argument() {
        let queue = json!({"type": "quorum", "durable": true, "policy": "p", "operator_policy": "o",
            "arguments": {"x-delivery-limit": 30, "x-max-length": 10, "x-dead-letter-exchange": "mine"},
            "effective_policy_definition": {"delivery-limit": 7, "message-ttl": 5, "max-length": 20,
                                            "dead-letter-exchange": "theirs", "dead-letter-routing-key": "k"}});
        let facts = facts(&queue);
        assert_eq!((facts.delivery_limit, facts.message_ttl), (Some(7), Some(5)));
        assert_eq!(facts.dead_letter_exchange.as_deref(), Some("mine"));
        assert_eq!(facts.dead_letter_key.as_deref(), Some("k"));
        assert_eq!(facts.max_length.as_deref(), Some("max-length 10, drop-head"));
        assert_eq!((facts.kind.as_str(), facts.durable, facts.policies_known), ("quorum", true, true));
        assert_eq!(facts.policies, ["p", "o"]);
    }

    #[test]
    fn a_limit_that_the_queue_states_itself_goes_first() {
        for (stated, limit) in [(json!("unlimited"), -1), (json!(20), 20), (json!(5), 5)] {
            let queue = json!({"arguments": {"x-delivery-limit": -1}, "delivery_limit": stated,
                               "effective_policy_definition": {"delivery-limit": 5}});
            assert_eq!(facts(&queue).delivery_limit, Some(limit), "{stated}");
        }
    }

    #[test]
    fn an_empty_policy_definition_is_a_list_there() {
        let queue = json!({"type": "classic", "policy": "", "arguments": {}, "effective_policy_definition": []});
        let expected = QueueFacts { kind: "classic".to_owned(), policies_known: true, ..QueueFacts::default() };
        assert_eq!(facts(&queue), expected);
    }

    #[test]
    fn what_the_api_says_nothing_of_is_not_known() {
        let young = json!({"type": "quorum", "durable": true, "arguments": {"x-queue-type": "quorum"}});
        assert!(!facts(&young).policies_known);
    }

    #[test]
    fn a_nodes_timeout_is_found_among_its_settings() {
        let of = |text: &str| NodeTimeout::read(text);
        let among = "{rabbit,\n [{consumer_disconnected_timeout,60000},\n  {consumer_timeout,1800000},\n {x,[]}]}";
        assert_eq!(of(among), NodeTimeout::After(Duration::from_secs(1800)));
        assert_eq!(of("[{consumer_timeout,undefined}]"), NodeTimeout::Never);
        assert_eq!(of("[{consumer_timeout,infinity}]"), NodeTimeout::Never);
        for text in
            ["", "[{consumer_timeout,{a,1}}]", "[{consumer_timeout,1},{consumer_timeout,2}]", "{consumer_timeout,"]
        {
            assert!(matches!(of(text), NodeTimeout::Untold(_)), "{text}");
        }
    }
}
