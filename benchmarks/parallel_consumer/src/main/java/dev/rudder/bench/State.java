package dev.rudder.bench;

import java.util.Collection;
import java.util.UUID;

/**
 * What the database says of an event and its release.
 *
 * @param logged whether the activity log knows the event
 * @param release null where there is none
 * @param version of the release, null where there is no release
 */
record State(boolean logged, Long version, Release release, Collection<Attempt> attempts) {
    /** The columns of a release that the rules and status events need. */
    record Release(UUID id, String organization, Statuses.Release status, ReleaseBlock block) {}
}
