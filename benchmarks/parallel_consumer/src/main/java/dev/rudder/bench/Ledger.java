package dev.rudder.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.rudder.bench.Statuses.Deployment;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/**
 * What one event writes, gathered in the order in which it comes about: the shape of the statement that writes it, the
 * values by the names that the statement gives its parameters, and the entries of the activity log.
 */
final class Ledger {
    private final Event event;
    private final String organization;
    private final Map<UUID, Attempt> attempts = new LinkedHashMap<>();
    private final List<Entry> entries = new ArrayList<>();
    private final Map<String, Object> values = new HashMap<>();
    private String releaseShape = "held";
    private String deploymentShape = "none";
    private Statuses.Release releaseStatus;
    private ReleaseBlock releaseBlock;
    private long version;

    Ledger(State state, Event event) {
        this.event = event;
        organization = event.organization();
        state.attempts().forEach(attempt -> attempts.put(attempt.id(), attempt));
        values.put("release", event.releaseId());
        values.put("version", state.version());
        values.put("at", event.time());
        values.put("environment", event.environment());
        values.put("config_revision", event.configRevision());
        if (state.release() != null) {
            releaseStatus = state.release().status();
            releaseBlock = state.release().block();
            version = state.version() + 1;
        }
    }

    String shape() {
        return releaseShape + " " + deploymentShape + " " + entries.size();
    }

    Map<String, Object> values() {
        return values;
    }

    List<Entry> entries() {
        return entries;
    }

    /** The release's attempts as they are after what was said so far. */
    Collection<Attempt> attempts() {
        return attempts.values();
    }

    void createRelease() {
        JsonNode block = event.release();
        releaseShape = "created";
        releaseStatus = Statuses.Release.APPROVED;
        values.put("organization", organization);
        values.put("release_status", releaseStatus.name());
        releaseBlock = ReleaseBlock.of(block);
        values.put("project", releaseBlock.project());
        values.put("component", releaseBlock.component());
        values.put("track", releaseBlock.track());
        values.put("date", releaseBlock.date());
        values.put("number", releaseBlock.number());
        values.put("created_by", block.required("created_by").textValue());
        values.put("description", Json.textOrNull(block, "description"));
        values.put("commit_hash", releaseBlock.commit());
        values.put("image_tag", releaseBlock.image());
        values.put("compared", 0);
        values.put("metadata", block.hasNonNull("metadata") ? Json.text(block.get("metadata")) : null);
        append(Entry.RELEASE_CREATED, null, null, releaseStatus.name(), event.comment());
        version = 1; // the event that creates it also changes a deployment
        values.put("release_version", version);
    }

    void setReleaseStatus(Statuses.Release status) {
        if (status == releaseStatus) {
            return;
        }
        if (releaseShape.equals("held")) {
            releaseShape = "moved";
            values.put("release_previous", releaseStatus.name());
        }
        values.put("release_status", status.name());
        append(Entry.RELEASE_STATUS_CHANGED, null, releaseStatus.name(), status.name(), null);
        releaseStatus = status;
    }

    void open(long number) {
        UUID id = Identity.deployment(event.releaseId(), event.environment(), event.configRevision(), number);
        Attempt opened = new Attempt(
                        id, event.environment(), event.configRevision(), number, null, event.time(), null, null)
                .moved(event.wanted(), event.time(), event.actor());
        if (deploymentShape.equals("none")) {
            deploymentShape = "opened";
        }
        particulars();
        values.merge("config_mapping_revision", 0, (said, none) -> said);
        values.merge("schema_based_config_revision", 0, (said, none) -> said);
        values.put("deployment_attempt", number);
        note("", opened, null, event.comment());
    }

    void move(Attempt target) {
        deploymentShape = "moved";
        particulars();
        note("", target.moved(event.wanted(), event.time(), event.actor()), target.status(), event.comment());
    }

    void supersede(Attempt active) {
        deploymentShape = "superseded";
        note("superseded_", active.moved(Deployment.CANCELLED, event.time(), null), active.status(), null);
    }

    void noteStale(Attempt target) {
        append(Entry.EVENT_STALE, target, null, target.status().name(), event.comment());
    }

    private void particulars() {
        values.put("comment", event.comment());
        values.put("config_mapping_revision", event.configMappingRevision());
        values.put("schema_based_config_revision", event.schemaBasedConfigRevision());
        values.put("api_settings", event.apiSettings());
    }

    private void note(String prefix, Attempt changed, Deployment previous, String comment) {
        attempts.put(changed.id(), changed);
        values.put(prefix + "deployment", changed.id());
        values.put(prefix + "status", changed.status().name());
        values.put(prefix + "previous", previous == null ? null : previous.name());
        values.put(prefix + "deployed_at", changed.deployedAt());
        values.put(prefix + "deployed_by", changed.deployedBy());
        append(
                Entry.DEPLOYMENT_STATUS_CHANGED,
                changed,
                previous == null ? null : previous.name(),
                changed.status().name(),
                comment);
    }

    private void append(String type, Attempt attempt, String from, String to, String comment) {
        ObjectNode said = Json.object();
        said.putObject("event")
                .put("source", event.source())
                .put("id", event.id())
                .put("type", event.type())
                .put("time", Times.format(event.time()));
        said.putObject("record")
                .put("topic", event.at().topic())
                .put("partition", event.at().partition())
                .put("offset", event.at().offset());
        said.put("organization_id", organization);
        if (!type.equals(Entry.EVENT_STALE)) {
            said.putObject("change").put("from", from).put("to", to);
            said.put("release_version", version);
            said.set("release", releaseBlock.json());
        }
        if (attempt != null) {
            said.put("config_revision", attempt.configRevision()).put("attempt", attempt.number());
            if (attempt.deployedAt() != null) {
                said.put("deployed_at", Times.format(attempt.deployedAt())).put("deployed_by", attempt.deployedBy());
            }
        }
        if (event.actor() != null) {
            said.put("actor", event.actor());
        }
        if (comment != null) {
            said.put("comment", comment);
        }
        UUID id = Identity.entry(event.source(), event.id(), entries.size());
        UUID deployment = attempt == null ? null : attempt.id();
        String environment = attempt == null ? null : attempt.environment();
        String prefix = "entry_" + entries.size() + "_";
        values.put(prefix + "id", id);
        values.put(prefix + "deployment", deployment);
        values.put(prefix + "environment", environment);
        values.put(prefix + "type", type);
        values.put(prefix + "data", Json.text(said));
        values.put(prefix + "status", to);
        entries.add(new Entry(id, event.time(), event.releaseId(), deployment, environment, type, said, to));
    }
}
