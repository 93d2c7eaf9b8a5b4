package dev.rudder.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Objects;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.internals.RecordHeaders;

/** The status events that follow from log entries: CloudEvents in binary mode, whose ids are the entries'. */
final class Publications {
    private static final String SOURCE = "/rudder-worker";

    private final Settings settings;

    Publications(Settings settings) {
        this.settings = settings;
    }

    /** In the entries' order; those that change no status have none. */
    List<ProducerRecord<String, byte[]>> of(List<Entry> entries) {
        return entries.stream().map(this::of).filter(Objects::nonNull).toList();
    }

    private ProducerRecord<String, byte[]> of(Entry entry) {
        return switch (entry.type()) {
            case Entry.DEPLOYMENT_STATUS_CHANGED ->
                    record(entry, settings.deploymentStatusTopic(), "deployment", deployment(entry));
            case Entry.RELEASE_CREATED, Entry.RELEASE_STATUS_CHANGED ->
                    record(entry, settings.releaseStatusTopic(), "release", release(entry));
            default -> null;
        };
    }

    private static ObjectNode deployment(Entry entry) {
        JsonNode said = entry.said();
        ObjectNode data = Json.object();
        data.put("release_id", entry.release().toString());
        data.set("release_version", said.get("release_version"));
        data.put("deployment_id", entry.deployment().toString());
        data.set("organization_id", said.get("organization_id"));
        data.put("environment_id", entry.environment());
        data.set("config_revision", said.get("config_revision"));
        data.set("attempt", said.get("attempt"));
        change(data, said);
        data.set("deployed_at", orNull(said, "deployed_at"));
        data.set("deployed_by", orNull(said, "deployed_by"));
        cause(data, said);
        return data;
    }

    private static ObjectNode release(Entry entry) {
        JsonNode said = entry.said();
        ObjectNode data = Json.object();
        data.put("release_id", entry.release().toString());
        data.set("release_version", said.get("release_version"));
        data.set("organization_id", said.get("organization_id"));
        change(data, said);
        cause(data, said);
        return data;
    }

    private static void change(ObjectNode data, JsonNode said) {
        data.set("previous_status", said.get("change").get("from"));
        data.set("status", said.get("change").get("to"));
    }

    private static void cause(ObjectNode data, JsonNode said) {
        data.set("comment", orNull(said, "comment"));
        data.set("release", said.get("release"));
        data.set("cause", said.get("event"));
    }

    private static JsonNode orNull(JsonNode said, String name) {
        JsonNode value = said.get(name);
        return value == null ? Json.object().nullNode() : value;
    }

    private static ProducerRecord<String, byte[]> record(Entry entry, String topic, String about, ObjectNode data) {
        String release = entry.release().toString();
        RecordHeaders headers = new RecordHeaders();
        headers.add("ce_specversion", bytes("1.0"));
        headers.add("ce_id", bytes(entry.id().toString()));
        headers.add("ce_source", bytes(SOURCE));
        headers.add("ce_type", bytes("dev.rudder." + about + ".status_changed.v1"));
        headers.add("ce_time", bytes(Times.format(entry.createdAt())));
        headers.add("ce_subject", bytes(release));
        headers.add("content-type", bytes("application/json"));
        return new ProducerRecord<>(topic, null, null, release, Json.bytes(data), headers);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
