package dev.rudder.bench;

import java.sql.Connection;
import java.sql.SQLException;
import java.util.List;
import java.util.UUID;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;

/** One record's turn: ask, decide, write; what it returns is still to be published. */
final class Handler {
    private static final int TRIES_MAX = 10;

    private final Database database;
    private final Publications publications;

    Handler(Database database, Publications publications) {
        this.database = database;
        this.publications = publications;
    }

    /** A conflict is met with a fresh read; any other failure is parallel-consumer's to try again. */
    List<ProducerRecord<String, byte[]>> handle(ConsumerRecord<String, byte[]> record) {
        Event event = Event.of(record);
        for (int tries = 1; ; tries++) {
            try (Connection connection = database.connection()) {
                return publications.of(process(connection, event));
            } catch (SQLException error) {
                if (!Database.isConflict(error) || tries == TRIES_MAX) {
                    throw new IllegalStateException(error);
                }
            }
        }
    }

    /** The event's log entries: those that it just made, or those that it made when it came before. */
    private List<Entry> process(Connection connection, Event event) throws SQLException {
        UUID first = Identity.entry(event.source(), event.id(), 0);
        State state = database.ask(connection, event, first);
        if (state.logged()) {
            return database.entries(connection, Identity.entries(event.source(), event.id()));
        }
        Ledger ledger = Decision.of(state, event);
        database.write(connection, ledger);
        return ledger.entries();
    }
}
