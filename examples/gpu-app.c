// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The GPU half of the demo: owns the memory and checks what becomes of it.
 *
 * One pass: poison VRAM, have storage-app read the disk's range A into it,
 * compare every byte; poison the disk's range B, have storage-app write VRAM
 * there, compare every byte. The first and the last pass run undisturbed. In
 * those between, the mover process moves the buffer between VRAM and system
 * memory while I/O is in flight; passes go on until it has done its number.
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "demo.h"

#define ACCEPT_MS	30000
#define PASSES_MAX	1000

static struct {
	const char *exporter;
	const char *socket;
	const char *device;
	uint64_t size;
	uint64_t from;
	uint64_t to;
	unsigned int moves;
} opt = {
	.socket = "/tmp/p2pbuf-demo",
	.device = "",
	.size = 64 << 20,
	.from = 0,
	.to = 64 << 20,
	.moves = 12,
};

/*
 * @expected: range A of the disk
 * @scratch: host memory, for looking at the disk
 * @vram: CPU mapping of the buffer
 */
struct demo {
	struct p2pbuf_exporter *exporter;
	struct p2pbuf_buffer *buf;
	struct mover mover;
	int sock;
	int disk;
	unsigned char *expected;
	unsigned char *scratch;
	unsigned char *vram;
	unsigned int passes;
	unsigned int moves;
	uint64_t bytes[2];
	uint64_t ns[2];
};

static void say(const char *fmt, ...)
{
	va_list ap;

	printf("gpu-app: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

__attribute__((noreturn, format(printf, 1, 2)))
static void fail(const char *fmt, ...)
{
	va_list ap;

	printf("demo: FAIL ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	exit(1);
}

static struct p2pbuf_error error = { .size = sizeof(error) };

static void must(const char *what, int ret)
{
	if (ret < 0)
		fail("%s: %s", what, error.code == -ret ? error.text :
						p2pbuf_strerror(ret));
}

static void *host_memory(uint64_t size)
{
	void *p = aligned_alloc(4096, size);

	if (!p)
		fail("no %llu bytes of memory", (unsigned long long)size);
	return p;
}

static void open_memory(struct demo *demo)
{
	struct p2pbuf_exporter_info info = { .size = sizeof(info) };
	struct p2pbuf_alloc_opts opts = {
		.size = sizeof(opts),
		.name = "demo",
	};

	must("exporter", p2pbuf_exporter_open(opt.exporter, &demo->exporter,
					      &error));
	must("exporter", p2pbuf_exporter_info(demo->exporter, &info));
	say("exporter %s, %s, BAR %u with %.0f MiB", info.device, info.node,
	    info.bar, info.vram_size / MIB);
	must("allocation", p2pbuf_alloc(demo->exporter, opt.size, &opts,
					&demo->buf, &error));
	must("mapping", p2pbuf_map(demo->buf, 0, opt.size,
				   P2PBUF_READ | P2PBUF_WRITE,
				   (void **)&demo->vram));
	say("allocated %.0f MiB of its memory", opt.size / MIB);
}

static void open_disk(struct demo *demo)
{
	char hex[SHA256_HEX];

	demo->disk = open(opt.device, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (demo->disk < 0)
		fail("cannot open %s: %s", opt.device, strerror(errno));
	demo->expected = host_memory(opt.size);
	demo->scratch = host_memory(opt.size);
	must("reading the disk", disk_read(demo->disk, demo->expected, opt.size,
					   opt.from));
	sha256_hex(demo->expected, opt.size, hex);
	say("%s holds %.0f MiB at %.0f MiB, sha256 %s", opt.device,
	    opt.size / MIB, opt.from / MIB, hex);
}

static int listen_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock;

	if (strlen(path) >= sizeof(addr.sun_path))
		fail("the socket's path is too long");
	strcpy(addr.sun_path, path);
	unlink(path);
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0 || bind(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(sock, 1) < 0)
		fail("cannot listen at %s: %s", path, strerror(errno));

	return sock;
}

static void receive_reply(struct demo *demo, struct demo_reply *reply)
{
	ssize_t n = recv(demo->sock, reply, sizeof(*reply), 0);

	if (n != sizeof(*reply))
		fail("storage-app went away");
	reply->text[sizeof(reply->text) - 1] = '\0';
	if (reply->result < 0)
		fail("storage-app: %s (%s)", reply->text,
		     strerrorname_np(-reply->result) ?: "?");
}

/* The buffer goes to two other processes. */
static void pass_memory(struct demo *demo, int listener)
{
	struct p2pbuf_meta meta = { .size = sizeof(meta), .name = "demo" };
	struct pollfd pfd = { .fd = listener, .events = POLLIN };
	struct demo_reply reply;

	must("mover", mover_give(&demo->mover, demo->buf, &error));
	if (poll(&pfd, 1, ACCEPT_MS) != 1)
		fail("no storage-app connected to %s", opt.socket);
	demo->sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (demo->sock < 0)
		fail("accept: %s", strerror(errno));
	must("passing the buffer", p2pbuf_send(demo->sock, demo->buf, &meta,
					       &error));
	receive_reply(demo, &reply);
}

static void poison_vram(struct demo *demo, unsigned char value)
{
	must("sync", p2pbuf_sync_begin(demo->buf, P2PBUF_WRITE));
	memset(demo->vram, value, opt.size);
	must("sync", p2pbuf_sync_end(demo->buf, P2PBUF_WRITE));
}

static void poison_disk(struct demo *demo, unsigned char value)
{
	memset(demo->scratch, value, opt.size);
	must("poisoning the disk", disk_write(demo->disk, demo->scratch,
					      opt.size, opt.to));
}

static void check_same(const struct demo *demo, const void *found,
		       const char *what)
{
	size_t at = first_difference(found, demo->expected, opt.size);

	if (at < opt.size)
		fail("pass %u: %s differs at byte %zu: %02x instead of %02x",
		     demo->passes, what, at, ((unsigned char *)found)[at],
		     demo->expected[at]);
}

static void check_vram(struct demo *demo)
{
	must("sync", p2pbuf_sync_begin(demo->buf, P2PBUF_READ));
	check_same(demo, demo->vram, "VRAM");
	must("sync", p2pbuf_sync_end(demo->buf, P2PBUF_READ));
}

static void check_disk(struct demo *demo)
{
	must("reading the disk", disk_read(demo->disk, demo->scratch, opt.size,
					   opt.to));
	check_same(demo, demo->scratch, "the disk");
}

/* One request; moves while it runs if @moving. */
static void request(struct demo *demo, enum demo_op op, bool moving,
		    struct demo_reply *reply)
{
	struct demo_request req = {
		.op = op,
		.disk_offset = op == DEMO_READ ? opt.from : opt.to,
		.length = opt.size,
	};
	unsigned int first = atomic_load(&demo->mover.page->count);

	if (moving)
		mover_run(&demo->mover);
	if (send(demo->sock, &req, sizeof(req), MSG_NOSIGNAL) < 0)
		fail("storage-app went away");
	receive_reply(demo, reply);
	if (moving) {
		must("a move", mover_park(&demo->mover));
		demo->moves += mover_count(&demo->mover, first, reply->start_ns,
					   reply->end_ns);
	}
	demo->bytes[op == DEMO_WRITE] += opt.size;
	demo->ns[op == DEMO_WRITE] += reply->end_ns - reply->start_ns;
	if (reply->bytes_peer + reply->bytes_system != opt.size)
		fail("pass %u: %llu bytes went peer to peer and %llu through host memory, of %llu",
		     demo->passes, (unsigned long long)reply->bytes_peer,
		     (unsigned long long)reply->bytes_system,
		     (unsigned long long)opt.size);
	if (!moving && reply->bytes_system)
		fail("pass %u: %llu bytes went through host memory though nobody moved the buffer",
		     demo->passes, (unsigned long long)reply->bytes_system);
}

static void run_pass(struct demo *demo, bool moving, struct demo_reply *reply)
{
	unsigned char poison = 0x5a ^ ++demo->passes;

	poison_vram(demo, poison);
	request(demo, DEMO_READ, moving, reply);
	check_vram(demo);
	poison_disk(demo, poison);
	request(demo, DEMO_WRITE, moving, reply);
	check_disk(demo);
	say("pass %u: every byte of VRAM and disk is right%s; %u moves during I/O so far",
	    demo->passes, moving ? "" : ", nobody moved", demo->moves);
}

static void check_sums(struct demo *demo, char hex[SHA256_HEX])
{
	char a[SHA256_HEX], b[SHA256_HEX];

	must("sync", p2pbuf_sync_begin(demo->buf, P2PBUF_READ));
	sha256_hex(demo->vram, opt.size, hex);
	must("sync", p2pbuf_sync_end(demo->buf, P2PBUF_READ));
	must("reading the disk", disk_read(demo->disk, demo->scratch, opt.size,
					   opt.from));
	sha256_hex(demo->scratch, opt.size, a);
	must("reading the disk", disk_read(demo->disk, demo->scratch, opt.size,
					   opt.to));
	sha256_hex(demo->scratch, opt.size, b);
	say("sha256 of VRAM          %s", hex);
	say("sha256 of disk, read    %s", a);
	say("sha256 of disk, written %s", b);
	if (strcmp(hex, a) || strcmp(hex, b))
		fail("the checksums differ");
}

static void run(struct demo *demo)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };
	struct demo_reply reply;
	struct utsname uts;
	char hex[SHA256_HEX];

	run_pass(demo, false, &reply);
	while (demo->moves < opt.moves) {
		if (demo->passes == PASSES_MAX)
			fail("only %u moves during I/O in %u passes",
			     demo->moves, demo->passes);
		run_pass(demo, true, &reply);
	}
	run_pass(demo, false, &reply);
	check_sums(demo, hex);
	must("query", p2pbuf_query(demo->buf, &info));
	say("the buffer changed its place %llu times, %u of them during I/O; %u passes; %s",
	    (unsigned long long)info.generation, demo->moves, demo->passes,
	    info.placement == P2PBUF_PLACEMENT_VRAM ? "it is in VRAM" :
						      "it is in system memory");
	if (info.placement != P2PBUF_PLACEMENT_VRAM)
		fail("the buffer did not come back to VRAM");
	uname(&uts);
	printf("demo: PASS bytes=%llu path=%s moves=%u sha256=%s ",
	       (unsigned long long)opt.size, p2pbuf_path_name(reply.path),
	       demo->moves, hex);
	printf("read_mib_s=%.0f write_mib_s=%.0f kernel=%s\n",
	       mib_s(demo->bytes[0], demo->ns[0]),
	       mib_s(demo->bytes[1], demo->ns[1]), uts.release);
}

static int usage(const char *name)
{
	fprintf(stderr,
		"usage: %s --device NAMESPACE [--exporter NODE] [--socket PATH] [--mib N]\n"
		"       [--from BYTE] [--to BYTE] [--moves N]\n", name);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "exporter", required_argument, NULL, 'e' },
		{ "socket", required_argument, NULL, 's' },
		{ "device", required_argument, NULL, 'd' },
		{ "mib", required_argument, NULL, 'n' },
		{ "from", required_argument, NULL, 'f' },
		{ "to", required_argument, NULL, 't' },
		{ "moves", required_argument, NULL, 'm' },
		{ NULL, 0, NULL, 0 },
	};
	struct demo demo = { .sock = -1 };
	int c, listener;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'e')
			opt.exporter = optarg;
		else if (c == 's')
			opt.socket = optarg;
		else if (c == 'd')
			opt.device = optarg;
		else if (c == 'n')
			opt.size = strtoull(optarg, NULL, 0) << 20;
		else if (c == 'f')
			opt.from = strtoull(optarg, NULL, 0);
		else if (c == 't')
			opt.to = strtoull(optarg, NULL, 0);
		else if (c == 'm')
			opt.moves = strtoul(optarg, NULL, 0);
		else
			return usage(argv[0]);
	}
	if (!*opt.device || !opt.size || optind != argc)
		return usage(argv[0]);

	/* Before anything is opened: the mover gets the buffer and no more. */
	must("mover", mover_start(&demo.mover, opt.exporter));
	listener = listen_at(opt.socket);
	open_memory(&demo);
	open_disk(&demo);
	pass_memory(&demo, listener);
	run(&demo);

	close(demo.sock);
	mover_stop(&demo.mover);
	p2pbuf_unmap(demo.vram, opt.size);
	p2pbuf_free(demo.buf);
	p2pbuf_exporter_close(demo.exporter);
	unlink(opt.socket);

	return 0;
}
