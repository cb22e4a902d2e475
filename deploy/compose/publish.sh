#!/bin/sh
# Publishes an order every second by RabbitMQ's HTTP API, each tenth one bad: a quantity of 0, which the table refuses.
#   API=http://rabbitmq:15672/api LOGIN=user:password ORDERS=100 PAUSE=1 publish.sh     (ORDERS: without it no end)
set -eu
run=$(date +%s)
number=0
while [ -z "${ORDERS:-}" ] || [ "$number" -lt "$ORDERS" ]; do
    number=$((number + 1))
    quantity=$((number % 10))
    order="{\\\"order_id\\\": \\\"$run-$number\\\", \\\"customer\\\": \\\"Customer $((number % 7))\\\",\
 \\\"quantity\\\": $quantity, \\\"price\\\": $number.50, \\\"placed_at\\\": $(date +%s)}"
    body="{\"properties\": {\"message_id\": \"$run-$number\", \"delivery_mode\": 2, \"content_type\": \"application/json\"},\
 \"routing_key\": \"orders\", \"payload_encoding\": \"string\", \"payload\": \"$order\"}"
    # The worker declares the queue: until then RabbitMQ answers {"routed":false}.
    until printf '%s' "$body" | curl -sS --fail-with-body --user "$LOGIN" --header 'content-type: application/json' \
        --data-binary @- "$API/exchanges/%2f/amq.default/publish" | grep -q '"routed":true'; do
        sleep 1
    done
    sleep "${PAUSE:-1}"
done
