/* A bcast peer for a microcontroller: one service, one IPv4 interface, no keys (docs/protocol.md).
 * The first half is the protocol: no allocation, no system calls, no globals. Its owner fills in struct
 * bc, feeds it what arrives (bc_receive), asks what is to be sent now (bc_next), and how long to sleep
 * (bc_wait). What follows "PORT" knows of an operating system. Times are milliseconds of any monotonic
 * clock, which may wrap; addresses are in host byte order. */
#define _DEFAULT_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { PROBE = 1, REPLY, ANNOUNCE, BEAT, GOODBYE, QUERY };
enum { TYPES = 0x01, FILTER = 0x03, SERVICE = 0x10, TAG = 0x7f, CRITICAL = 0x80, MORE = 0x01 };
enum { HEADER_SIZE = 32, TAG_SIZE = 18, MAX_DATAGRAM = 1200, MAX_BODY = 1134 - 4 };
enum { BURST = 64, RATE = 16, JITTER_MS = 100, PROBES = 16, REMEMBER_MS = 1000 };
enum { IDLE = -1, BEATING = 3, LEAVING = 4, GONE = 7 };     /* 0..2: announcements, 4..6: goodbyes */
static const uint16_t TIMES[] = {0, 1000, 3000, 0, 0, 100, 300};
struct bc_source { uint32_t address; uint16_t port; int ttl; bool to_us; };     /* ttl: -1 if not known */
struct bc_service { uint8_t body[MAX_BODY]; size_t size; unsigned attributes; uint32_t hash; };
struct bc_probe { bool used, waiting; uint8_t key[24]; uint16_t room; uint32_t at, due; struct bc_source to; };
struct bc {                                             /* to_us: to our address, not to a group */
    uint8_t id[16];                                     /* the owner sets these, zeros the rest */
    uint32_t epoch, address, mask;
    uint16_t realm, interval;
    uint64_t random;
    const struct bc_service *service;
    uint64_t id64, entry;                               /* these aren't */
    uint32_t sequence, version, credit, credited, since, next;
    int step;
    struct bc_probe probes[PROBES];                     /* by (peer id, nonce): answered, or to be */
};
struct span { const uint8_t *at; size_t size; };
struct message { struct span all, types, filter; };

static uint32_t be16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }
static uint32_t be32(const uint8_t *p) { return be16(p) << 16 | be16(p + 2); }
static uint64_t be64(const uint8_t *p) { return (uint64_t)be32(p) << 32 | be32(p + 4); }
static uint8_t *put8(uint8_t *p, uint32_t v) { *p = (uint8_t)v; return p + 1; }
static uint8_t *put16(uint8_t *p, uint32_t v) { return put8(put8(p, v >> 8), v & 0xff); }
static uint8_t *put32(uint8_t *p, uint32_t v) { return put16(put16(p, v >> 16), v & 0xffff); }
static uint8_t *put(uint8_t *p, const void *v, size_t n) { memcpy(p, v, n); return p + n; }
static bool is_due(uint32_t now, uint32_t when) { return now - when < 0x80000000u; }

static uint64_t mix64(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint32_t fnv1a(const char *text) {
    uint32_t h = 0x811c9dc5;
    for (; *text; text++) h = (h ^ (uint8_t)*text) * 0x01000193u;
    return h;
}

static uint16_t bc_realm(const char *name) {
    uint32_t h = fnv1a(name), folded = (h >> 16) ^ (h & 0xffff);
    return *name ? (uint16_t)(folded ? folded : 1) : 0;
}

static bool add_text(struct bc_service *s, const char *text, size_t size, size_t least, size_t most) {
    if (size < least || size > most || size + 1 > MAX_BODY - s->size) return false;
    s->body[s->size] = (uint8_t)size;
    memcpy(s->body + s->size + 1, text, size);
    s->size += size + 1;
    return true;
}

static bool bc_service(struct bc_service *s, const char *name, const char *type, uint16_t port) {
    memset(s, 0, sizeof *s);
    put32(s->body, (uint32_t)port << 16);
    s->size = 4;
    s->hash = fnv1a(type);
    return strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == strlen(type) &&
           add_text(s, name, strlen(name), 1, 63) && add_text(s, type, strlen(type), 1, 63);
}

static bool bc_attribute(struct bc_service *s, const char *key, size_t size, const char *value) {
    for (size_t at = 4; at < s->size; at += 1u + s->body[at], at += 1u + s->body[at])
        if (at > 4 && s->body[at] == size && !memcmp(s->body + at + 1, key, size)) return false;
    return s->attributes++ < 64 && add_text(s, key, size, 1, 63) && add_text(s, value, strlen(value), 0, 255);
}

static void bc_init(struct bc *b, uint32_t now) {
    b->version = 1, b->step = IDLE;
    b->id64 = mix64(be64(b->id) ^ mix64(be64(b->id + 8)));
    b->entry = mix64(b->id64 ^ ((uint64_t)b->epoch << 32 | b->version));
    b->credit = BURST * 1000, b->credited = now;
}

/* Step 0: announces it, at the start and when the link or the address had been away. LEAVING: goodbye. */
static void bc_begin(struct bc *b, uint32_t now, int step) {
    b->since = b->next = now + (step ? 0 : (uint32_t)(mix64(b->random++) % (JITTER_MS + 1)));
    b->step = step;
    if (step) memset(b->probes, 0, sizeof b->probes);
}

/* With its service, if that fits the room; without, if there is no room, or with MORE if too little. */
static size_t compose(struct bc *b, uint8_t *out, uint8_t type, const uint8_t *nonce, size_t room) {
    size_t size = b->service->size, head = size < 255 ? 2 : 4;
    bool full = (nonce ? HEADER_SIZE + 16u : HEADER_SIZE + 8u) + head + size <= room;
    uint8_t *p = put32(out, 0xbd501000u | type);
    p = put32(p, (room && !full ? (uint32_t)MORE << 24 : 0) | b->realm);
    p = put32(put32(put(p, b->id, 16), b->epoch), b->sequence++);
    if (nonce) p = put(p, nonce, 8);
    p = put16(put16(put32(p, b->version), b->interval), 1);     /* part 0 of 1; or one service */
    if (!full) return (size_t)(p - out);
    p = put8(p, SERVICE);
    p = head == 2 ? put8(p, (uint32_t)size) : put16(put8(p, 255), (uint32_t)size);
    return (size_t)(put(p, b->service->body, size) - out);
}

/* The one reader of what the network sends: NULL, or the reason why it is to be discarded. */
static const char *parse(struct message *m, const uint8_t *data, size_t size) {
    static const uint8_t least[] = {0, 52, 48, 40, 40, 40, 48};
    *m = (struct message){.all = {data, size}};
    if (size > MAX_DATAGRAM) return "too-large";
    if (size < HEADER_SIZE) return "too-short";
    if (be16(data) != 0xbd50) return "magic";
    if (data[2] >> 4 != 1) return "version";
    if (data[3] < PROBE || data[3] > QUERY) return "type";
    bool probe = data[3] == PROBE;
    size_t at = least[data[3]], end = data[5] ? size - TAG_SIZE : size, length;
    if (end < at) return "too-short";
    if (data[5] && be16(data + end) != 0x7f10) return "tag";
    for (; at < end; at += length) {
        uint8_t type = data[at++];
        if (type == TAG) return "tag";
        if (type & CRITICAL) return "critical";
        if (at == end) return "truncated";
        if ((length = data[at++]) == 255) {
            if (end - at < 2) return "truncated";
            length = be16(data + at), at += 2;
        }
        if (length > end - at) return "truncated";
        struct span *field = type == TYPES ? &m->types : type == FILTER ? &m->filter : NULL;
        if (!probe || !field) continue;
        if (field->at) return "duplicate";
        *field = (struct span){data + at, length};
    }
    if (m->types.at && (!m->types.size || m->types.size % 4)) return "range";
    if (m->types.size > 8 * 4) return "too-many";
    if (probe && be16(data + 46) && be16(data + 44) >= be16(data + 46)) return "range";
    if (probe && data[50] != 1) m->filter.at = NULL;            /* of a kind that we don't know */
    if (m->filter.at && (m->filter.size < 8 || data[49] < 1 || data[49] > 16)) return "filter";
    return data[3] == QUERY && data[44] > 15 ? "part" : NULL;
}

static bool is_known(const struct bc *b, const struct message *m) {
    uint64_t base = mix64(b->entry ^ mix64(be64(m->all.at + 32)));
    uint32_t bit = (uint32_t)base, step = (uint32_t)(base >> 32) | 1, bits = (uint32_t)m->filter.size * 8;
    for (int i = 0; i < m->all.at[49]; i++, bit += step)
        if (!(m->filter.at[bit % bits / 8] & 0x80 >> bit % bits % 8)) return false;
    return true;
}

static bool is_on_link(const struct bc *b, const struct bc_source *from) {
    uint32_t a = from->address, host = ~b->mask;
    bool inside = (a & b->mask) == (b->address & b->mask);
    if (!from->port || a < 0x01000000u || a >= 0xe0000000u) return false;   /* also groups, broadcast */
    if (inside && host > 1 && (!(a & host) || (a & host) == host)) return false;    /* directed broadcast */
    return inside || a >> 16 == 0xa9fe;                                     /* or link-local */
}

static bool take_token(struct bc *b, uint32_t now) {
    uint32_t passed = now - b->credited, most = BURST * 1000 - b->credit;
    b->credited = now;
    b->credit += passed > most / RATE ? most : passed * RATE;
    if (b->credit < 1000) return false;
    b->credit -= 1000;
    return true;
}

static const char *take_probe(struct bc *b, const struct message *m, const struct bc_source *from, uint32_t now) {
    const uint8_t *d = m->all.at;
    uint32_t low = be16(d + 44), high = be16(d + 46) ? be16(d + 46) : 0x10000, window = be16(d + 42);
    uint32_t slot = (uint32_t)(mix64(b->id64 ^ be64(d + 32)) >> 48);
    bool ours = !m->types.at;
    for (size_t i = 0; i < m->types.size; i += 4) ours |= be32(m->types.at + i) == b->service->hash;
    if (!ours || slot < low || slot >= high) return ours ? "slot" : "types";
    if (m->filter.at && is_known(b, m)) return "known";
    uint32_t due = now + (window * (slot - low) + (high - low) - 1) / (high - low);     /* < 2^32 */
    struct bc_probe *last = NULL, *free = NULL, *before = NULL, *end = b->probes + PROBES;
    for (struct bc_probe *p = b->probes; p < end; p++) {
        if (!p->waiting && now - p->at >= REMEMBER_MS) p->used = false;
        if (p->used && !memcmp(p->key, d + 8, 16)) {            /* of the same prober */
            if (!memcmp(p->key + 16, d + 32, 8)) return "repeated";
            if (p->waiting) before = p;
        }
        if (!p->used) free = p;
        if (p->waiting && (!last || is_due(p->due, last->due))) last = p;
    }
    if (before && is_due(due, before->due)) due = before->due;
    if (!free) free = before ? before : last;                   /* who is due last gives way */
    if (!free || (free == last && free != before && is_due(due, last->due))) return "busy";
    if (!take_token(b, now)) return "rate";
    if (before) before->waiting = false;
    *free = (struct bc_probe){.used = true, .waiting = true, .at = now, .due = due, .to = *from};
    memcpy(free->key, d + 8, 16);
    memcpy(free->key + 16, d + 32, 8);
    free->room = (uint16_t)(3 * m->all.size);
    return "probe";
}

/* Takes a datagram that arrived at `now`. Returns the size of the answer in `out` (of MAX_DATAGRAM)
 * that is to be sent to its source at once, or 0. *what: "probe", "query", or why it was ignored. */
static size_t bc_receive(struct bc *b, const uint8_t *data, size_t size, const struct bc_source *from,
                         uint32_t now, uint8_t *out, const char **what) {
    struct message m;
    if ((*what = parse(&m, data, size)) != NULL) return 0;
    *what = data[3] != PROBE && data[3] != QUERY ? "other" :
            be16(data + 6) != b->realm ? "realm" : from->ttl >= 0 && from->ttl != 255 ? "ttl" :
            !is_on_link(b, from) ? "off-link" : b->step >= LEAVING ? "leaving" :
            data[3] == QUERY && !from->to_us ? "not-unicast" : NULL;
    if (*what) return 0;
    *what = data[3] == PROBE ? take_probe(b, &m, from, now) : take_token(b, now) ? "query" : "rate";
    if (data[3] == PROBE || **what != 'q') return 0;
    return compose(b, out, REPLY, data + 32, be32(data + 40) == b->version ? 0 : data[44] ? 1 : 3 * size);
}

/* What is to be sent now: its size in `out`, or 0. to->port is 0 if it goes to the group. */
static size_t bc_next(struct bc *b, uint32_t now, uint8_t *out, struct bc_source *to) {
    for (struct bc_probe *p = b->probes; p < b->probes + PROBES; p++) {
        if (!p->waiting || !is_due(now, p->due)) continue;
        p->waiting = false;
        *to = p->to;
        return compose(b, out, REPLY, p->key + 16, p->room);
    }
    memset(to, 0, sizeof *to);
    if (b->step == IDLE || b->step == GONE || !is_due(now, b->next)) return 0;
    uint32_t interval = b->interval * 1000u;
    if (b->step == BEATING) {
        b->next += is_due(now, b->next + interval) ? now - b->next + interval : interval;
        return compose(b, out, BEAT, NULL, 0);
    }
    bool hello = b->step < BEATING;
    do b->step++;                                       /* what is late is said once */
    while (b->step != BEATING && b->step != GONE && is_due(now, b->since + TIMES[b->step]));
    if (b->step == BEATING) b->next = now + (uint32_t)(mix64(b->random++) % interval);
    else if (b->step != GONE) b->next = b->since + TIMES[b->step];
    return compose(b, out, hello ? ANNOUNCE : GOODBYE, NULL, hello ? MAX_DATAGRAM : 0);
}

static uint32_t bc_wait(const struct bc *b, uint32_t now) {
    uint32_t wait = b->step == IDLE || b->step == GONE ? 3600000 : is_due(now, b->next) ? 0 : b->next - now;
    for (const struct bc_probe *p = b->probes; p < b->probes + PROBES; p++)
        if (p->waiting && is_due(now + wait, p->due)) wait = is_due(now, p->due) ? 0 : p->due - now;
    return wait;
}

/* ---- PORT: Linux, for tests. All that follows is replaced on a microcontroller. ---- */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int stop[2];
static void on_signal(int number) { if (write(stop[1], &number, 1) < 0) _exit(1); }
static void die(const char *why) { fprintf(stderr, "responder: %s\n", why); exit(2); }

static uint32_t port_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint32_t)((uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u);
}

static int set(int s, int option, int value) { return setsockopt(s, IPPROTO_IP, option, &value, sizeof value); }

/* The shared socket hears the group and broadcast; the own one sends, and hears what is sent to it. */
static int port_open(struct bc *b, struct sockaddr_in at, bool shared) {
    struct ip_mreq join = {at.sin_addr, {htonl(b->address)}};
    int s = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
    bool bad = set(s, IP_RECVTTL, 1) || set(s, IP_TTL, 255) || set(s, IP_MULTICAST_TTL, 255) ||
               set(s, IP_MULTICAST_IF, (int)join.imr_interface.s_addr) ||
               (shared && (setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof join) ||
                           setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one)));
    if (!shared) at.sin_port = 0;
    at.sin_addr.s_addr = shared ? INADDR_ANY : join.imr_interface.s_addr;
    if (bad || bind(s, (struct sockaddr *)&at, sizeof at)) die("socket");
    struct ifaddrs *all = NULL, *i;
    for (i = getifaddrs(&all) ? NULL : all; i; i = i->ifa_next) {
        struct sockaddr_in *have = (void *)i->ifa_addr, *mask = (void *)i->ifa_netmask;
        if (!have || have->sin_family != AF_INET || have->sin_addr.s_addr != join.imr_interface.s_addr) continue;
        if (setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, i->ifa_name, (socklen_t)strlen(i->ifa_name))) continue;
        b->mask = ntohl(mask->sin_addr.s_addr);
        freeifaddrs(all);
        return s;
    }
    die("no interface has this address");
    return -1;
}

static ssize_t port_receive(int s, uint8_t *data, struct bc_source *from) {
    struct sockaddr_in a;
    union { char room[64]; struct cmsghdr head; } control;
    struct iovec part = {data, MAX_DATAGRAM + 1};
    struct msghdr m = {.msg_name = &a, .msg_namelen = sizeof a, .msg_iov = &part, .msg_iovlen = 1,
                       .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(s, &m, MSG_DONTWAIT);
    if (size < 0) return size;
    *from = (struct bc_source){.address = ntohl(a.sin_addr.s_addr), .port = ntohs(a.sin_port), .ttl = -1};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) memcpy(&from->ttl, CMSG_DATA(c), sizeof(int));
    return size;
}

static void port_send(int s, struct sockaddr_in to, const struct bc_source *peer, uint8_t *data, size_t size) {
    if (peer->port) to.sin_addr.s_addr = htonl(peer->address), to.sin_port = htons(peer->port);
    sendto(s, data, size, 0, (struct sockaddr *)&to, sizeof to);                /* what is lost is lost */
}

static int run(struct bc *b, struct sockaddr_in group) {
    uint8_t data[MAX_DATAGRAM + 1], out[MAX_DATAGRAM];
    int own = port_open(b, group, false), shared = port_open(b, group, true);
    struct bc_source peer;
    const char *what;
    if (pipe(stop) || signal(SIGTERM, on_signal) == SIG_ERR || signal(SIGINT, on_signal) == SIG_ERR) die("pipe");
    for (bc_begin(b, port_now(), 0); b->step != GONE;) {
        struct pollfd ready[] = {{own, POLLIN, 0}, {shared, POLLIN, 0}, {stop[0], POLLIN, 0}};
        poll(ready, 3, (int)bc_wait(b, port_now()));
        uint32_t now = port_now();
        size_t n;
        if (ready[2].revents && read(stop[0], data, 1) == 1 && b->step < LEAVING) bc_begin(b, now, LEAVING);
        for (int i = 0, reads = 0; i < 2; i++, reads = 0)
            for (ssize_t size; reads < 64 && (size = port_receive(ready[i].fd, data, &peer)) >= 0; reads++) {
                peer.to_us = ready[i].fd == own;
                n = bc_receive(b, data, (size_t)size, &peer, now, out, &what);
                if (n) port_send(own, group, &peer, out, n);
            }
        while ((n = bc_next(b, now, out, &peer)) > 0) port_send(own, group, &peer, out, n);
    }
    return 0;
}

static size_t unhex(const char *text, uint8_t *out, size_t room) {
    for (size_t n = 0;; n++, text += 2)
        if (n == room || text[0] <= ' ' || text[1] <= ' ' || sscanf(text, "%2hhx", out + n) != 1) return n;
}

/* Reads datagrams in hex, one a line, `pause` milliseconds apart, and prints what becomes of them. */
static int replay(struct bc *b, FILE *file, const struct bc_source *from, uint32_t pause) {
    static char line[2 * 65536];
    uint8_t data[MAX_DATAGRAM + 1], out[MAX_DATAGRAM], *end = data + sizeof data;
    struct bc_source to;
    for (uint32_t now = 0, wait = 0; fgets(line, sizeof line, file); now += wait + pause, wait = 0) {
        const char *what;
        size_t size = unhex(line, data, sizeof data);       /* moved to the end: sanitizers watch it */
        size_t n = bc_receive(b, memmove(end - size, data, size), size, from, now, out, &what);
        bool probe = !strcmp(what, "probe");
        if (probe) n = bc_next(b, now + (wait = bc_wait(b, now)), out, &to);
        printf("%s%s%s", n ? "" : "ignored ", what, n ? " " : "");
        for (size_t i = 0; i < n; i++) printf("%02x", out[i]);
        printf(probe ? " %lu\n" : "\n", (unsigned long)wait);
    }
    return fclose(file);
}

static uint32_t number(const char *text, uint32_t usual, uint32_t least, uint32_t most) {
    char *end = NULL;
    unsigned long n = text ? strtoul(text, &end, 0) : usual;
    if (n < least || n > most || (text && (end == text || *end))) die("not a number, or out of range");
    return (uint32_t)n;
}

/* -n NAME -t TYPE -p PORT [-a KEY=VALUE]... [-i ADDRESS of the interface] [-b BEAT_SECONDS] [-r REALM]
 * [-I ID of 32 hex digits] [-e EPOCH] [-u UDP_PORT]; for tests: -F FILE [-S SOURCE] [-T TTL] [-m PAUSE_MS] */
int main(int count, char **words) {
    static struct bc_service service;
    static struct bc b = {.mask = 0xff000000};
    const char *o[128] = {0}, *attributes[64];
    int c, n = 0;
    while ((c = getopt(count, words, "n:t:p:a:i:b:r:I:e:u:F:S:T:m:")) != -1)
        if (c == '?' || (c == 'a' && (n == 64 || !strchr(optarg, '=')))) die("bad option");
        else if (c == 'a') attributes[n++] = optarg;
        else o[c] = optarg;
    FILE *file = o['F'] ? fopen(o['F'], "r") : NULL;
    if (getentropy(b.id, sizeof b.id) || getentropy(&b.random, sizeof b.random)) die("no random numbers");
    if (o['F'] && !file) die("the file can't be read");
    if (!o['n'] || !o['t'] || !bc_service(&service, o['n'], o['t'], (uint16_t)number(o['p'], 0, 0, 65535)))
        die("bad name or type");
    for (const char **a = attributes; a < attributes + n; a++)
        if (!bc_attribute(&service, *a, strcspn(*a, "="), strchr(*a, '=') + 1)) die("bad attribute");
    if (o['I'] && (strlen(o['I']) != 32 || unhex(o['I'], b.id, 16) != 16)) die("bad id");
    b.epoch = number(o['e'], (uint32_t)(b.random >> 32), 0, UINT32_MAX);
    b.address = ntohl(inet_addr(o['i'] ? o['i'] : "127.0.0.1"));
    b.realm = bc_realm(o['r'] ? o['r'] : "");
    b.interval = (uint16_t)number(o['b'], 120, 1, 3600);
    b.service = &service;
    bc_init(&b, 0);
    struct sockaddr_in group = {.sin_family = AF_INET, .sin_addr = {inet_addr("239.255.110.72")}};
    group.sin_port = htons((uint16_t)number(o['u'], 28232, 1, 65535));
    struct bc_source from = {ntohl(inet_addr(o['S'] ? o['S'] : "127.0.0.1")), 9, 255, true};
    from.ttl = (int)number(o['T'], 255, 0, 255);
    return file ? replay(&b, file, &from, number(o['m'], 100, 0, 1000000)) : run(&b, group);
}
