package dev.rudder.bench;

import com.fasterxml.jackson.databind.JsonNode;
import dev.rudder.bench.Statuses.Deployment;
import java.time.LocalDateTime;
import java.util.Map;
import java.util.UUID;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/**
 * A deployment event without {@code attempt}, which is all that the benchmark's stream holds.
 *
 * @param kind the last part of its type: {@code requested}
 * @param actor null where it names none, as are the others below it
 * @param release the fields of the release that it brings along
 */
record Event(
        ConsumerRecord<String, byte[]> at,
        String source,
        String id,
        String type,
        String kind,
        LocalDateTime time,
        UUID releaseId,
        String organization,
        String environment,
        int configRevision,
        String actor,
        String comment,
        Integer configMappingRevision,
        Integer schemaBasedConfigRevision,
        String apiSettings,
        JsonNode release) {

    private static final String TYPES = "dev.rudder.deployment.";
    private static final String VERSION = ".v1";
    private static final Map<String, Deployment> WANTED = Map.of(
            "requested", Deployment.PENDING,
            "started", Deployment.IN_PROGRESS,
            "succeeded", Deployment.SUCCESS,
            "failed", Deployment.FAILED,
            "cancelled", Deployment.CANCELLED,
            "rolled_back", Deployment.ROLLED_BACK);

    static Event of(ConsumerRecord<String, byte[]> record) {
        JsonNode event = Json.read(record.value());
        JsonNode data = event.required("data");
        String type = event.required("type").textValue();
        if (!type.startsWith(TYPES) || !type.endsWith(VERSION) || data.hasNonNull("attempt")) {
            throw new IllegalArgumentException("not of the benchmark's stream: " + event);
        }
        return new Event(
                record,
                event.required("source").textValue(),
                event.required("id").textValue(),
                type,
                type.substring(TYPES.length(), type.length() - VERSION.length()),
                Times.parse(event.required("time").textValue()),
                UUID.fromString(data.required("release_id").textValue()),
                data.required("organization_id").textValue(),
                data.required("environment_id").textValue(),
                data.hasNonNull("config_revision") ? data.get("config_revision").intValue() : 1,
                Json.textOrNull(data, "actor"),
                Json.textOrNull(data, "comment"),
                number(data, "config_mapping_revision"),
                number(data, "schema_based_config_revision"),
                data.hasNonNull("api_settings") ? Json.text(data.get("api_settings")) : null,
                data.hasNonNull("release") ? data.get("release") : null);
    }

    Deployment wanted() {
        return WANTED.get(kind);
    }

    private static Integer number(JsonNode data, String name) {
        return data.hasNonNull(name) ? data.get(name).intValue() : null;
    }
}
