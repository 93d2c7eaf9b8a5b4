package dev.rudder.bench;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.List;
import java.util.UUID;
import java.util.stream.IntStream;

/** The ids of rows and status events: UUIDs of version 5, under the contract's namespace. */
final class Identity {
    private static final UUID NAMESPACE = UUID.fromString("6f1d5f6e-2f0a-5c0b-9d43-7b0d3f2f5a11");
    private static final int ENTRIES_MAX = 4;

    private Identity() {}

    static UUID deployment(UUID release, String environment, int configRevision, long attempt) {
        return named(release + "/" + environment + "/" + configRevision + "/" + attempt);
    }

    /** The id of an event's entry in the activity log; {@code position} counts its further entries from 1. */
    static UUID entry(String source, String event, int position) {
        return named(source + "\n" + event + (position == 0 ? "" : "\n" + position));
    }

    /** Every id that an entry of this event can have, in order. */
    static List<UUID> entries(String source, String event) {
        return IntStream.range(0, ENTRIES_MAX)
                .mapToObj(position -> entry(source, event, position))
                .toList();
    }

    private static UUID named(String name) {
        MessageDigest digest = sha1();
        digest.update(ByteBuffer.allocate(2 * Long.BYTES)
                .putLong(NAMESPACE.getMostSignificantBits())
                .putLong(NAMESPACE.getLeastSignificantBits())
                .array());
        ByteBuffer hash = ByteBuffer.wrap(digest.digest(name.getBytes(StandardCharsets.UTF_8)));
        long high = hash.getLong() & 0xFFFFFFFFFFFF0FFFL | 0x5000L;
        long low = hash.getLong() & 0x3FFFFFFFFFFFFFFFL | 0x8000000000000000L;
        return new UUID(high, low);
    }

    private static MessageDigest sha1() {
        try {
            return MessageDigest.getInstance("SHA-1");
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException("every Java has SHA-1", error);
        }
    }
}
