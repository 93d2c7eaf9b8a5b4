package dev.rudder.bench;

import java.util.Collection;
import java.util.UUID;

/**
 * What the database says of an event and its release.
 *
 * @param logged whether the activity log knows the event
 * @param release null where there is none
 * @param version that of the release's row, null where there is none
 */
record State(boolean logged, String version, Release release, Collection<Attempt> attempts) {
    record Release(UUID id, String organization, Statuses.Release status) {}
}
