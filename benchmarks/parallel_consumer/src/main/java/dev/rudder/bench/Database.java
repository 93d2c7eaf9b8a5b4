package dev.rudder.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.stream.Stream;

/** PostgreSQL, in autocommit: one SELECT asks, one statement writes and commits, or fails as a whole. */
final class Database implements AutoCloseable {
    private static final String[] CONFLICTS = {"23", "40", "RW"};
    private static final int VERSION = 4;
    private static final int POINTER_FOUND = 5;
    private static final int RELEASE = 9;
    private static final int ATTEMPT = 20;

    private final HikariDataSource pool;
    private final Statements statements;

    private Database(HikariDataSource pool, Statements statements) {
        this.pool = pool;
        this.statements = statements;
    }

    static Database open(Settings settings, Statements statements) {
        HikariConfig configuration = new HikariConfig();
        configuration.setJdbcUrl(settings.jdbcUrl());
        configuration.setMaximumPoolSize(settings.connections());
        // A statement is a transaction of its own: no round trips for BEGIN and COMMIT.
        configuration.setAutoCommit(true);
        // Prepared at the server from the first execution on, not from the fifth; values travel in binary then.
        // `reWriteBatchedInserts` has no effect: nothing is sent by addBatch, as each message is one statement.
        configuration.addDataSourceProperty("prepareThreshold", "1");
        configuration.addDataSourceProperty("options", statements.session());
        configuration.addDataSourceProperty("ApplicationName", "parallel-consumer");
        return new Database(new HikariDataSource(configuration), statements);
    }

    Connection connection() throws SQLException {
        return pool.getConnection();
    }

    /** Whether somebody else wrote first, or a guard of the worker's found its row changed. */
    static boolean isConflict(SQLException error) {
        String state = error.getSQLState();
        return state != null && Stream.of(CONFLICTS).anyMatch(state::startsWith);
    }

    /** All that the decision on the event can depend on. */
    State ask(Connection connection, Event event, UUID firstEntry) throws SQLException {
        Map<String, Object> values = new HashMap<>();
        values.put("event_id", firstEntry);
        values.put("release_id", event.releaseId());
        values.put("environment_id", event.environment());
        values.put("config_revision", event.configRevision());
        values.put("attempt", null);
        values.put("events", 1);
        JsonNode block = event.release();
        if (block != null) {
            values.put("release_date", LocalDate.parse(block.required("release_date").textValue()));
            values.put("release_number", block.required("release_number").intValue());
            values.put("component_id", UUID.fromString(block.required("component_id").textValue()));
            values.put("deployment_track_id", block.required("deployment_track_id").textValue());
        }
        try (PreparedStatement asking = prepared(connection, statements.asks().get(event.kind()), values);
                ResultSet rows = asking.executeQuery()) {
            return state(rows);
        }
    }

    /** The entries with these ids, in this order. */
    List<Entry> entries(Connection connection, List<UUID> ids) throws SQLException {
        Map<UUID, Entry> found = new HashMap<>();
        Map<String, Object> values = new HashMap<>();
        ids.forEach(id -> values.put("id_" + values.size(), id));
        try (PreparedStatement asking = prepared(connection, statements.entries(), values);
                ResultSet rows = asking.executeQuery()) {
            while (rows.next()) {
                Entry entry = entry(rows);
                found.put(entry.id(), entry);
            }
        }
        return ids.stream().filter(found::containsKey).map(found::get).toList();
    }

    void write(Connection connection, Ledger ledger) throws SQLException {
        Statements.One write = statements.writes().get(ledger.shape());
        if (write == null) {
            throw new IllegalStateException("no statement writes " + ledger.shape());
        }
        try (PreparedStatement writing = prepared(connection, write, ledger.values())) {
            writing.execute();
        }
    }

    @Override
    public void close() {
        pool.close();
    }

    private static PreparedStatement prepared(
            Connection connection, Statements.One statement, Map<String, Object> values) throws SQLException {
        PreparedStatement prepared = connection.prepareStatement(statement.sql());
        int at = 1;
        for (String name : statement.names()) {
            Object value = values.get(name);
            if (value == null) {
                prepared.setNull(at, Types.NULL);
            } else if (value instanceof String text) {
                prepared.setObject(at, text, Types.OTHER);
            } else {
                prepared.setObject(at, value);
            }
            at++;
        }
        return prepared;
    }

    private static State state(ResultSet rows) throws SQLException {
        Map<UUID, Attempt> attempts = new LinkedHashMap<>();
        rows.next();
        boolean logged = rows.getInt(1) == 1;
        if (rows.getInt(2) == 1 || rows.getInt(3) == 1 || rows.getInt(POINTER_FOUND) == 1) {
            throw new IllegalStateException("the benchmark has no rejections, taken numbers and pointers");
        }
        Long version = rows.getObject(VERSION, Long.class);
        State.Release release = rows.getObject(RELEASE, UUID.class) == null ? null : release(rows);
        do {
            UUID id = rows.getObject(ATTEMPT, UUID.class);
            if (id != null && !attempts.containsKey(id)) {
                attempts.put(id, attempt(id, rows));
            }
        } while (rows.next());
        return new State(logged, version, release, attempts.values());
    }

    private static State.Release release(ResultSet rows) throws SQLException {
        return new State.Release(
                rows.getObject(RELEASE, UUID.class),
                rows.getString(RELEASE + 1),
                Statuses.Release.valueOf(rows.getString(RELEASE + 2)),
                new ReleaseBlock(
                        rows.getObject(RELEASE + 5, LocalDate.class),
                        rows.getInt(RELEASE + 6),
                        rows.getObject(RELEASE + 8, UUID.class),
                        rows.getObject(RELEASE + 3, UUID.class),
                        rows.getString(RELEASE + 4),
                        rows.getString(RELEASE + 9),
                        rows.getString(RELEASE + 10)));
    }

    private static Attempt attempt(UUID id, ResultSet rows) throws SQLException {
        return new Attempt(
                id,
                rows.getString(ATTEMPT + 1),
                rows.getInt(ATTEMPT + 2),
                rows.getLong(ATTEMPT + 3),
                Statuses.Deployment.valueOf(rows.getString(ATTEMPT + 4)),
                rows.getObject(ATTEMPT + 5, LocalDateTime.class),
                rows.getObject(ATTEMPT + 6, LocalDateTime.class),
                rows.getString(ATTEMPT + 7));
    }

    private static Entry entry(ResultSet rows) throws SQLException {
        return new Entry(
                rows.getObject("id", UUID.class),
                rows.getObject("created_at", LocalDateTime.class),
                rows.getObject("release_mgt_id", UUID.class),
                rows.getObject("release_deployment_id", UUID.class),
                rows.getString("environment_id"),
                rows.getString("activity_type"),
                Json.read(rows.getString("activity_data")),
                rows.getString("status"));
    }
}
