package dev.rudder.bench;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.LocalDateTime;
import java.util.UUID;

/**
 * A row of release_activity_logs.
 *
 * @param deployment null where it is about the release, as is {@code environment}
 * @param said what {@code activity_data} holds
 */
record Entry(
        UUID id,
        LocalDateTime createdAt,
        UUID release,
        UUID deployment,
        String environment,
        String type,
        JsonNode said,
        String status) {

    static final String RELEASE_CREATED = "RELEASE_CREATED";
    static final String RELEASE_STATUS_CHANGED = "RELEASE_STATUS_CHANGED";
    static final String DEPLOYMENT_STATUS_CHANGED = "DEPLOYMENT_STATUS_CHANGED";
    static final String EVENT_STALE = "EVENT_STALE";
}
