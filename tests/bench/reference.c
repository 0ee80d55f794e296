/*
 * What the benchmarks measure against: the least that a C program has to do to receive or send
 * the same datagrams through the same kind of socket.
 *
 *   reference receive INTERFACE GROUP PORT
 *   reference send INTERFACE SOURCE GROUP PORT COUNT BATCH RATE PAYLOAD_FILE MODE
 *
 * receive: 64 datagrams a recvmmsg; of each, source, IP_PKTINFO, IP_RECVTTL and SO_TIMESTAMPNS
 * are decoded and one byte of every cache line of the payload is read. It says "listening on
 * port N" on stderr, and "received N drops N" on stdout when SIGINT or SIGTERM ends it (drops by
 * SO_MEMINFO).
 *
 * send: COUNT datagrams, BATCH a sendmmsg, RATE a second (0: as fast as possible). MODE is
 * "plain"; "pktinfo": the source address goes along with each datagram; or a number N: from N
 * made-up source addresses of 10.0.0.0/8, through a raw socket (CAP_NET_RAW). It says
 * "sent N cpu_ns N wall_ns N" on stdout.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define MOST 1024
#define SLOT 2048
#define CONTROL 128
#define BUFFER (4 * 1024 * 1024)

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif
#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif
#ifndef IP_MULTICAST_ALL
#define IP_MULTICAST_ALL 49
#endif

static volatile sig_atomic_t stopped;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

static void fail(const char *what)
{
    fprintf(stderr, "reference: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void set(int fd, int level, int option, const void *value, socklen_t size, const char *what)
{
    if (setsockopt(fd, level, option, value, size) < 0)
        fail(what);
}

static void set_int(int fd, int level, int option, int value, const char *what)
{
    set(fd, level, option, &value, sizeof value, what);
}

static uint64_t nanoseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What a program that wants to know where a datagram came from has in the end. */
struct seen {
    uint64_t time_ns;
    uint32_t source, destination, interface;
    uint16_t port;
    uint8_t ttl, touched;
};

static volatile struct seen seen;

static void decode(const struct mmsghdr *message, const unsigned char *payload)
{
    struct seen now = {0};
    const struct sockaddr_in *name = message->msg_hdr.msg_name;
    struct msghdr *header = (struct msghdr *)&message->msg_hdr;

    now.source = ntohl(name->sin_addr.s_addr);
    now.port = ntohs(name->sin_port);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec stamp;
            memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
            now.time_ns = (uint64_t)stamp.tv_sec * 1000000000u + (uint64_t)stamp.tv_nsec;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            now.destination = ntohl(info.ipi_addr.s_addr);
            now.interface = (uint32_t)info.ipi_ifindex;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) {
            int ttl;
            memcpy(&ttl, CMSG_DATA(c), sizeof ttl);
            now.ttl = (uint8_t)ttl;
        }
    }
    for (unsigned i = 0; i < message->msg_len; i += 64)
        now.touched ^= payload[i];
    seen = now;
}

static int receive(const char *interface, const char *group, int port)
{
    static unsigned char slots[BATCH][SLOT], controls[BATCH][CONTROL];
    static struct sockaddr_in names[BATCH];
    static struct iovec vectors[BATCH];
    static struct mmsghdr messages[BATCH];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct ip_mreqn request = {0};
    struct sigaction action = {.sa_handler = stop};
    unsigned long long count = 0;
    uint32_t memory[9] = {0};
    socklen_t size = sizeof memory;
    int buffer = BUFFER, fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (fd < 0)
        fail("socket");
    request.imr_ifindex = (int)if_nametoindex(interface);
    request.imr_multiaddr.s_addr = inet_addr(group);
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
    set_int(fd, SOL_SOCKET, SO_BINDTOIFINDEX, request.imr_ifindex, "SO_BINDTOIFINDEX");
    set_int(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0, "IP_MULTICAST_ALL");
    set_int(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS");
    set_int(fd, IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO");
    set_int(fd, IPPROTO_IP, IP_RECVTTL, 1, "IP_RECVTTL");
    set_int(fd, SOL_SOCKET, SO_RCVBUF, buffer, "SO_RCVBUF");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0)
        fail("bind");
    set(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request, "IP_ADD_MEMBERSHIP");
    for (int i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){slots[i], SLOT};
        messages[i].msg_hdr.msg_name = &names[i];
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_control = controls[i];
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    fprintf(stderr, "listening on port %d\n", port);
    while (!stopped) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        int got = BATCH;
        if (poll(&waiting, 1, -1) < 0)
            continue;
        while (got == BATCH) {
            for (int i = 0; i < BATCH; i++) {
                messages[i].msg_hdr.msg_namelen = sizeof names[i];
                messages[i].msg_hdr.msg_controllen = CONTROL;
            }
            got = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
            for (int i = 0; i < got; i++)
                decode(&messages[i], slots[i]);
            if (got > 0)
                count += (unsigned long long)got;
        }
    }
    getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size);
    printf("received %llu drops %u\n", count, memory[8]);
    return 0;
}

/* An IP header and a UDP header; the kernel fills in length, identification and checksum. */
struct made_up {
    struct iphdr ip;
    struct udphdr udp;
} __attribute__((packed));

static uint32_t next_random(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static void make_up(struct made_up *headers, unsigned sources, in_addr_t group, int port, size_t length)
{
    unsigned n = next_random() % sources;
    memset(headers, 0, sizeof *headers);
    headers->ip.version = 4;
    headers->ip.ihl = 5;
    headers->ip.ttl = 1;
    headers->ip.protocol = IPPROTO_UDP;
    headers->ip.saddr = htonl((10u << 24) + (1u << 16) + n);
    headers->ip.daddr = group;
    headers->udp.source = htons((uint16_t)(1024 + n % 60000));
    headers->udp.dest = htons((uint16_t)port);
    headers->udp.len = htons((uint16_t)(sizeof headers->udp + length));
}

static int send_all(char **arguments)
{
    static struct made_up headers[MOST];
    static struct iovec vectors[MOST][2];
    static struct mmsghdr messages[MOST];
    static char payload[65536];
    static char control[CMSG_SPACE(sizeof(struct in_pktinfo))];
    const char *interface = arguments[0], *mode = arguments[8];
    in_addr_t source = inet_addr(arguments[1]), group = inet_addr(arguments[2]);
    int port = atoi(arguments[3]);
    long long count = atoll(arguments[4]), sent = 0;
    unsigned batch = (unsigned)atoi(arguments[5]);
    double rate = atof(arguments[6]);
    FILE *file = fopen(arguments[7], "rb");
    unsigned sources = (unsigned)atoi(mode);
    int pktinfo = !strcmp(mode, "pktinfo");
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct ip_mreqn out = {0};
    char *copies;
    size_t length;
    uint64_t began, cpu;
    int fd = socket(AF_INET, sources ? SOCK_RAW : SOCK_DGRAM, sources ? IPPROTO_RAW : 0);

    if (fd < 0)
        fail("socket");
    if (!file)
        fail(arguments[7]);
    if (batch < 1 || batch > MOST) {
        fprintf(stderr, "reference: a batch has 1 to %d datagrams\n", MOST);
        return 2;
    }
    length = fread(payload, 1, sizeof payload, file);
    fclose(file);
    out.imr_ifindex = (int)if_nametoindex(interface);
    out.imr_address.s_addr = source;
    to.sin_addr.s_addr = group;
    set_int(fd, SOL_SOCKET, SO_BINDTOIFINDEX, out.imr_ifindex, "SO_BINDTOIFINDEX");
    set(fd, IPPROTO_IP, IP_MULTICAST_IF, &out, sizeof out, "IP_MULTICAST_IF");
    if (!sources) {
        set_int(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1, "IP_MULTICAST_TTL");
        set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, "IP_MTU_DISCOVER");
    } else
        to.sin_port = 0;
    if (pktinfo) {
        struct cmsghdr *told = (struct cmsghdr *)control;
        struct in_pktinfo info = {.ipi_ifindex = out.imr_ifindex, .ipi_spec_dst = {source}};
        *told = (struct cmsghdr){CMSG_LEN(sizeof info), IPPROTO_IP, IP_PKTINFO};
        memcpy(CMSG_DATA(told), &info, sizeof info);
    }
    copies = malloc(MOST * (length + 1));
    if (!copies)
        fail("malloc");
    for (int i = 0; i < MOST; i++) {
        struct msghdr *header = &messages[i].msg_hdr;
        /* Each datagram has memory of its own, as in a program that has something to say. */
        memcpy(copies + i * length, payload, length);
        vectors[i][0] = (struct iovec){&headers[i], sizeof headers[i]};
        vectors[i][1] = (struct iovec){copies + i * length, length};
        header->msg_name = &to;
        header->msg_namelen = sizeof to;
        header->msg_iov = sources ? vectors[i] : vectors[i] + 1;
        header->msg_iovlen = sources ? 2 : 1;
        header->msg_control = pktinfo ? control : NULL;
        header->msg_controllen = pktinfo ? sizeof control : 0;
    }
    cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    began = nanoseconds(CLOCK_MONOTONIC);
    while (sent < count) {
        unsigned wanted = count - sent < batch ? (unsigned)(count - sent) : batch;
        unsigned done = 0;
        if (rate > 0) {
            uint64_t due = began + (uint64_t)((double)sent * 1e9 / rate);
            struct timespec when = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
            while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR)
                ;
        }
        for (unsigned i = 0; sources && i < wanted; i++)
            make_up(&headers[i], sources, group, port, length);
        while (done < wanted) {
            int now = sendmmsg(fd, messages + done, wanted - done, 0);
            if (now < 0)
                fail("sendmmsg");
            done += (unsigned)now;
        }
        sent += done;
    }
    printf("sent %lld cpu_ns %llu wall_ns %llu\n", sent,
           (unsigned long long)(nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu),
           (unsigned long long)(nanoseconds(CLOCK_MONOTONIC) - began));
    return 0;
}

int main(int count, char **arguments)
{
    if (count == 5 && !strcmp(arguments[1], "receive"))
        return receive(arguments[2], arguments[3], atoi(arguments[4]));
    if (count == 11 && !strcmp(arguments[1], "send"))
        return send_all(arguments + 2);
    fputs("reference: see the comment at the top of its source\n", stderr);
    return 2;
}
