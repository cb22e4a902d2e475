import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.rabbitmq.client.Channel;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.math.BigDecimal;
import java.net.URI;
import java.sql.Timestamp;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.springframework.amqp.core.AcknowledgeMode;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.api.ChannelAwareBatchMessageListener;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;
import org.springframework.transaction.support.TransactionTemplate;

/**
 * Spring AMQP's batch listener and JDBC: batches of up to 1,000, rewritten by the driver into INSERTs of many rows,
 * acked after the commit. Two workers, which was faster than one or four.
 */
public final class Consumer implements ChannelAwareBatchMessageListener {
    private static final int BATCH = 1_000;
    private static final int WORKERS = 2;

    private static final String INSERT =
            "INSERT INTO orders (order_id, event_id, customer, country, quantity, price, weight, paid, placed_at, note)"
                    + " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (order_id) DO NOTHING";

    private record Order(
            long orderId,
            UUID eventId,
            String customer,
            String country,
            int quantity,
            BigDecimal price,
            double weight,
            boolean paid,
            String placedAt,
            String note) {}

    private final ObjectMapper mapper =
            JsonMapper.builder().propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE).build();
    private final JdbcTemplate jdbc;
    private final TransactionTemplate transaction;

    private Consumer(HikariDataSource source) {
        jdbc = new JdbcTemplate(source);
        transaction = new TransactionTemplate(new DataSourceTransactionManager(source));
    }

    @Override
    public void onMessageBatch(List<Message> messages, Channel channel) {
        try {
            List<Order> orders = new ArrayList<>(messages.size());
            for (Message message : messages) {
                orders.add(mapper.readValue(message.getBody(), Order.class));
            }
            transaction.executeWithoutResult(status -> insert(orders));
            long last = messages.get(messages.size() - 1).getMessageProperties().getDeliveryTag();
            channel.basicAck(last, true);
        } catch (java.io.IOException failure) {
            throw new java.io.UncheckedIOException(failure);
        }
    }

    private void insert(List<Order> orders) {
        jdbc.batchUpdate(INSERT, orders, orders.size(), (statement, order) -> {
            statement.setLong(1, order.orderId());
            statement.setObject(2, order.eventId());
            statement.setString(3, order.customer());
            statement.setString(4, order.country());
            statement.setInt(5, order.quantity());
            statement.setBigDecimal(6, order.price());
            statement.setDouble(7, order.weight());
            statement.setBoolean(8, order.paid());
            statement.setTimestamp(9, Timestamp.from(Instant.parse(order.placedAt())));
            statement.setString(10, order.note());
        });
    }

    public static void main(String[] arguments) {
        URI database = URI.create(System.getenv("DATABASE_URL"));
        String[] login = database.getUserInfo().split(":", 2);
        HikariConfig pool = new HikariConfig();
        pool.setJdbcUrl("jdbc:postgresql://" + database.getHost() + ":" + database.getPort() + database.getPath()
                + "?reWriteBatchedInserts=true");
        pool.setUsername(login[0]);
        pool.setPassword(login[1]);
        pool.setMaximumPoolSize(WORKERS);

        CachingConnectionFactory broker = new CachingConnectionFactory(URI.create(System.getenv("AMQP_URL")));
        SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(broker);
        container.setQueueNames(System.getenv("QUEUE"));
        container.setConcurrentConsumers(WORKERS);
        container.setPrefetchCount(2 * BATCH);
        container.setConsumerBatchEnabled(true);
        container.setBatchSize(BATCH);
        // A batch that isn't full is written after so many milliseconds without a message.
        container.setReceiveTimeout(20);
        container.setBatchReceiveTimeout(20);
        container.setAcknowledgeMode(AcknowledgeMode.MANUAL);
        container.setMessageListener(new Consumer(new HikariDataSource(pool)));
        container.start();
    }
}
