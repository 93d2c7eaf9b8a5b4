package dev.rudder.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.LocalDate;
import java.time.format.DateTimeFormatter;
import java.util.UUID;

/** The release as status events have it. {@code commit} and {@code image} may be null. */
record ReleaseBlock(
        LocalDate date, int number, UUID project, UUID component, String track, String commit, String image) {

    /** From the release block of an event. */
    static ReleaseBlock of(JsonNode block) {
        return new ReleaseBlock(
                LocalDate.parse(block.required("release_date").textValue()),
                block.required("release_number").intValue(),
                UUID.fromString(block.required("project_id").textValue()),
                UUID.fromString(block.required("component_id").textValue()),
                block.required("deployment_track_id").textValue(),
                Json.textOrNull(block, "commit_hash"),
                Json.textOrNull(block, "image_tag"));
    }

    ObjectNode json() {
        return Json.object()
                .put("name", DateTimeFormatter.BASIC_ISO_DATE.format(date) + "-" + number)
                .put("project_id", project.toString())
                .put("component_id", component.toString())
                .put("deployment_track_id", track)
                .put("commit_hash", commit)
                .put("image_tag", image);
    }
}
