package dev.rudder.bench;

import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.CommitMode;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelEoSStreamProcessor;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The contender: as many records at a time as it was told, those of one release in order, until SIGTERM.
 *
 * <p>Parallel-consumer does what the worker's executor, offset tracker and publisher do: it produces what the handler
 * returns, and a record is done once all of that is acknowledged. Its options:
 *
 * <ul>
 *   <li>order by key, since events of one release must be in order;
 *   <li>one record at a time: batches of 8 were slower, as a record of a batch waits for the others' transactions;
 *   <li>asynchronous commits by the consumer, its default, which its documentation calls the fastest; each second, as
 *       everybody's here;
 *   <li>threads, connections and the producer's linger as the benchmark says, which tries several;
 *   <li>the buffer of records grows by itself.
 * </ul>
 */
public final class Main {
    private static final Duration COMMIT_INTERVAL = Duration.ofSeconds(1);
    private static final Duration STOP_TIMEOUT = Duration.ofSeconds(30);
    private static final long GLANCE_MS = 500;

    private Main() {}

    public static void main(String[] arguments) throws InterruptedException {
        Settings settings = Settings.of(System.getenv());
        Database database = Database.open(settings, Statements.load());
        Handler handler = new Handler(database, new Publications(settings));
        var processor = new ParallelEoSStreamProcessor<>(options(settings));
        processor.subscribe(List.of(settings.inputTopic()));
        processor.pollAndProduceMany(context -> handler.handle(context.getSingleConsumerRecord()));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            processor.closeDontDrainFirst(STOP_TIMEOUT);
            database.close();
        }));
        while (!processor.isClosedOrFailed()) {
            Thread.sleep(GLANCE_MS);
        }
        Exception cause = processor.getFailureCause();
        if (cause != null) {
            cause.printStackTrace();
            System.exit(1);
        }
    }

    private static ParallelConsumerOptions<String, byte[]> options(Settings settings) {
        return ParallelConsumerOptions.<String, byte[]>builder()
                .consumer(consumer(settings))
                .producer(producer(settings))
                .ordering(ProcessingOrder.KEY)
                .maxConcurrency(settings.concurrency())
                .commitMode(CommitMode.PERIODIC_CONSUMER_ASYNCHRONOUS)
                .commitInterval(COMMIT_INTERVAL)
                .build();
    }

    private static KafkaConsumer<String, byte[]> consumer(Settings settings) {
        return new KafkaConsumer<>(
                Map.of(
                        ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, settings.bootstrapServers(),
                        ConsumerConfig.GROUP_ID_CONFIG, settings.groupId(),
                        ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
                        ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest"),
                new StringDeserializer(),
                new ByteArrayDeserializer());
    }

    private static KafkaProducer<String, byte[]> producer(Settings settings) {
        return new KafkaProducer<>(
                Map.of(
                        ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, settings.bootstrapServers(),
                        ProducerConfig.ACKS_CONFIG, "all",
                        ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, true,
                        ProducerConfig.LINGER_MS_CONFIG, settings.lingerMs()),
                new StringSerializer(),
                new ByteArraySerializer());
    }
}
