package dev.rudder.bench;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;
import java.util.stream.StreamSupport;

/**
 * The worker's own SQL, out of a file that the worker's own code writes: see benchmarks/java_statements.py.
 *
 * @param session the options of a connection
 * @param asks by the event's kind
 * @param writes by {@link Ledger#shape()}
 */
record Statements(String session, Map<String, One> asks, One entries, Map<String, One> writes) {
    /** {@code names} says what each question mark stands for. */
    record One(String sql, List<String> names) {}

    static Statements load() {
        try (InputStream file = Statements.class.getResourceAsStream("/statements.json")) {
            JsonNode contents = Json.read(file.readAllBytes());
            StringJoiner session = new StringJoiner(" ");
            contents.get("session").properties().forEach(setting ->
                    session.add("-c " + setting.getKey() + "=" + setting.getValue().textValue()));
            return new Statements(
                    session.toString(),
                    all(contents.get("asks")),
                    one(contents.get("entries")),
                    all(contents.get("writes")));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static Map<String, One> all(JsonNode statements) {
        Map<String, One> all = new HashMap<>();
        statements.properties().forEach(statement -> all.put(statement.getKey(), one(statement.getValue())));
        return Map.copyOf(all);
    }

    private static One one(JsonNode statement) {
        List<String> names = StreamSupport.stream(statement.get("names").spliterator(), false)
                .map(JsonNode::textValue)
                .toList();
        return new One(statement.get("sql").textValue(), names);
    }
}
