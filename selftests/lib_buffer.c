// SPDX-License-Identifier: GPL-2.0
/*
 * Exporters and buffers as an application sees them: how they are found, the
 * reason of each refusal, shared handles, moves, CPU mappings, fences.
 */

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "p2pbuf_test_lib.h"
#include "kselftest_harness.h"
#include "p2pbuf_test_mock.h"

#define SIZE	(1024 * 1024)

#define EXPECT_REFUSED(err, call) do {					\
	self->error.text[0] = '\0';					\
	EXPECT_EQ(-(err), (call));					\
	EXPECT_EQ((err), self->error.code);				\
	EXPECT_TRUE(ptl_is_sentence(&self->error)) {			\
		TH_LOG("text: '%s'", self->error.text);			\
	}								\
} while (0)

FIXTURE(buffer)
{
	struct p2pbuf_exporter *exporter;
	struct p2pbuf_exporter_info info;
	struct p2pbuf_buffer *buf;
	struct p2pbuf_error error;
	uint64_t used;
	int fds;
};

FIXTURE_SETUP(buffer)
{
	int ret;

	self->error.size = sizeof(self->error);
	self->info.size = sizeof(self->info);
	self->fds = ptl_count_fds();
	ret = p2pbuf_exporter_open(NULL, &self->exporter, &self->error);
	if (ret == -ENODEV)
		SKIP(return, "%s", self->error.text);
	ASSERT_EQ(0, ret) TH_LOG("%s", self->error.text);
	ASSERT_EQ(0, p2pbuf_exporter_info(self->exporter, &self->info));
	self->used = self->info.vram_used;
}

FIXTURE_TEARDOWN(buffer)
{
	if (!self->exporter)
		return;
	p2pbuf_free(self->buf);
	EXPECT_EQ(0, p2pbuf_exporter_info(self->exporter, &self->info));
	EXPECT_EQ(self->used, self->info.vram_used);
	p2pbuf_exporter_close(self->exporter);
	EXPECT_EQ(self->fds, ptl_count_fds());
}

TEST_F(buffer, exporter_is_found)
{
	struct p2pbuf_exporter_info info = { .size = sizeof(info) };
	struct p2pbuf_exporter *other;
	const char *env = getenv("P2PBUF_EXPORTER");
	int i;

	if (env)
		EXPECT_STREQ(env, self->info.node);
	EXPECT_LT(0, self->info.vram_size);
	EXPECT_EQ(4096, self->info.page_size);
	EXPECT_LE(0, p2pbuf_exporter_fd(self->exporter));

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, p2pbuf_exporter_open(i ? self->info.node :
						      self->info.device,
						  &other, &self->error))
			TH_LOG("%s", self->error.text);
		EXPECT_EQ(0, p2pbuf_exporter_info(other, &info));
		EXPECT_STREQ(self->info.node, info.node);
		EXPECT_STREQ(self->info.device, info.device);
		EXPECT_EQ(self->info.pci, info.pci);
		p2pbuf_exporter_close(other);
	}
}

TEST_F(buffer, exporter_is_not_found)
{
	struct p2pbuf_exporter *other = NULL;
	char path[200];

	EXPECT_REFUSED(ENOENT, p2pbuf_exporter_open("/dev/dri/none", &other,
						    &self->error));
	EXPECT_REFUSED(ENOTTY, p2pbuf_exporter_open("/dev/null", &other,
						    &self->error));
	EXPECT_REFUSED(ENODEV, p2pbuf_exporter_open("ffff:ff:1f.7", &other,
						    &self->error));
	EXPECT_NE(NULL, strstr(self->error.text, "ffff:ff:1f.7"));
	memset(path, '/', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	EXPECT_REFUSED(ENAMETOOLONG, p2pbuf_exporter_open(path, &other,
							  &self->error));
	EXPECT_EQ(NULL, other);
}

/* That there is one is not denied by who could not look. */
TEST_F(buffer, exporter_without_descriptors)
{
	struct p2pbuf_exporter *other = NULL;
	struct rlimit usual, none;
	const char *const paths[] = {
		NULL, self->info.device, self->info.node,
	};
	size_t i;

	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &usual));
	none = usual;
	none.rlim_cur = 0;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		EXPECT_REFUSED(EMFILE, p2pbuf_exporter_open(paths[i], &other,
							    &self->error));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &usual));
	EXPECT_EQ(NULL, other);
}

TEST_F(buffer, exporter_is_not_ours_to_open)
{
	struct p2pbuf_exporter *other;
	pid_t pid;
	int status;

	if (geteuid())
		SKIP(return, "needs root, to become somebody else");
	ASSERT_EQ(0, chmod(self->info.node, 0600));
	pid = fork();
	if (!pid) {
		if (setgid(65534) || setuid(65534))
			_exit(1);
		_exit(p2pbuf_exporter_open(NULL, &other, &self->error) !=
		      -EACCES || self->error.code != EACCES ||
		      !ptl_is_sentence(&self->error) ||
		      p2pbuf_exporter_open(self->info.node, &other, NULL) !=
		      -EACCES);
	}
	waitpid(pid, &status, 0);
	EXPECT_EQ(0, status);
	chmod(self->info.node, 0660);
}

TEST_F(buffer, alloc)
{
	struct p2pbuf_alloc_opts opts = {
		.size = sizeof(opts),
		.name = "p2pbuf-test",
	};
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };

	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, &opts, &self->buf,
				  &self->error)) TH_LOG("%s", self->error.text);
	ASSERT_EQ(0, p2pbuf_query(self->buf, &info));
	EXPECT_EQ(SIZE, info.length);
	EXPECT_EQ(P2PBUF_PLACEMENT_VRAM, info.placement);
	EXPECT_EQ(0, info.flags);
	EXPECT_STREQ("p2pbuf_exporter", info.exporter_name);
	EXPECT_EQ(0, p2pbuf_exporter_info(self->exporter, &self->info));
	EXPECT_EQ(self->used + SIZE, self->info.vram_used);
}

TEST_F(buffer, alloc_system)
{
	struct p2pbuf_alloc_opts opts = {
		.size = sizeof(opts),
		.placement = P2PBUF_PLACEMENT_SYSTEM,
	};
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };

	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, &opts, &self->buf,
				  NULL));
	ASSERT_EQ(0, p2pbuf_query(self->buf, &info));
	EXPECT_EQ(P2PBUF_PLACEMENT_SYSTEM, info.placement);
}

TEST_F(buffer, alloc_refuses)
{
	struct {
		struct p2pbuf_alloc_opts opts;
		char more[8];
	} o = { .opts.size = sizeof(o.opts) };

#define ALLOC(size) p2pbuf_alloc(self->exporter, (size), &o.opts, &self->buf, \
				 &self->error)
	EXPECT_REFUSED(EDOM, ALLOC(4095));
	EXPECT_REFUSED(EDOM, ALLOC(0));
	/* Larger than the device, and larger than this file may hold. */
	self->error.text[0] = '\0';
	EXPECT_GT(0, ALLOC(self->info.vram_size + 4096));
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	o.opts.flags = 1 << 9;
	EXPECT_REFUSED(EINVAL, ALLOC(SIZE));
	o.opts.flags = 0;
	o.opts.placement = 1 << 9;
	EXPECT_REFUSED(EINVAL, ALLOC(SIZE));
	o.opts.placement = 0;
	o.opts.name = "a name of more than thirty-one bytes";
	EXPECT_REFUSED(EINVAL, ALLOC(SIZE));
	o.opts.name = NULL;
	o.opts.size = sizeof(o.opts) - 1;
	EXPECT_REFUSED(EINVAL, ALLOC(SIZE));
	o.opts.size = sizeof(o);
	o.more[7] = 1;
	EXPECT_REFUSED(E2BIG, ALLOC(SIZE));
	EXPECT_EQ(NULL, self->buf);
	o.more[7] = 0;
	EXPECT_EQ(0, ALLOC(SIZE));
#undef ALLOC
}

TEST_F(buffer, window)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };

	if (geteuid())
		SKIP(return, "needs CAP_SYS_RAWIO");
	EXPECT_REFUSED(ERANGE, p2pbuf_window(self->exporter,
					     self->info.vram_size, SIZE,
					     &self->buf, &self->error));
	ASSERT_EQ(0, p2pbuf_window(self->exporter, 0, SIZE, &self->buf,
				   &self->error)) TH_LOG("%s", self->error.text);
	ASSERT_EQ(0, p2pbuf_query(self->buf, &info));
	EXPECT_EQ(P2PBUF_WINDOW, info.flags & P2PBUF_WINDOW);
	EXPECT_REFUSED(EOPNOTSUPP, p2pbuf_move(self->buf,
					       P2PBUF_PLACEMENT_SYSTEM, 0,
					       &self->error));
}

TEST_F(buffer, vram_only_stays)
{
	struct p2pbuf_alloc_opts opts = {
		.size = sizeof(opts),
		.flags = P2PBUF_VRAM_ONLY,
	};

	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, &opts, &self->buf,
				  NULL));
	EXPECT_REFUSED(EOPNOTSUPP, p2pbuf_move(self->buf,
					       P2PBUF_PLACEMENT_SYSTEM, 0,
					       &self->error));
}

/* The mapping made before the first move shows the bytes after each. */
TEST_F(buffer, move_under_a_mapping)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };
	uint64_t generation, i, moves;
	volatile uint64_t *words;

	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, NULL, &self->buf, NULL));
	ASSERT_EQ(0, p2pbuf_map(self->buf, 0, 0, P2PBUF_READ | P2PBUF_WRITE,
				(void **)&words));
	ASSERT_EQ(0, p2pbuf_query(self->buf, &info));
	generation = info.generation;
	for (moves = 1; moves <= 6; moves++) {
		EXPECT_EQ(0, p2pbuf_sync_begin(self->buf, P2PBUF_WRITE));
		for (i = 0; i < SIZE / 8; i++)
			words[i] = i * 0x9e3779b97f4a7c15 + moves;
		EXPECT_EQ(0, p2pbuf_sync_end(self->buf, P2PBUF_WRITE));
		ASSERT_EQ(0, p2pbuf_move(self->buf, moves & 1 ?
					 P2PBUF_PLACEMENT_SYSTEM :
					 P2PBUF_PLACEMENT_VRAM, 0,
					 &self->error))
			TH_LOG("%s", self->error.text);
		ASSERT_EQ(0, p2pbuf_query(self->buf, &info));
		EXPECT_EQ(moves & 1 ? P2PBUF_PLACEMENT_SYSTEM :
			  P2PBUF_PLACEMENT_VRAM, info.placement);
		EXPECT_EQ(generation + moves, info.generation);
		EXPECT_EQ(0, p2pbuf_sync_begin(self->buf, P2PBUF_READ));
		for (i = 0; i < SIZE / 8; i++)
			if (words[i] != i * 0x9e3779b97f4a7c15 + moves)
				break;
		EXPECT_EQ(SIZE / 8, i);
		EXPECT_EQ(0, p2pbuf_sync_end(self->buf, P2PBUF_READ));
	}
	EXPECT_EQ(0, info.evictions);
	EXPECT_EQ(0, p2pbuf_unmap((void *)words, SIZE));
}

/* What the exporter says to the CPU; asked again only when it wants to be. */
TEST_F(buffer, sync_errors)
{
	static const int errors[] = {
		EPERM, ENOENT, EIO, ENOMEM, EACCES, EBUSY, ENODEV, EINVAL,
		ENOSPC, EOPNOTSUPP, ETIMEDOUT, EREMOTEIO, 4095,
	};
	int mock = ptm_open(), fd, i;

	if (mock < 0)
		SKIP(return, "no " P2PBUF_MOCK_DEVICE);
	fd = ptm_create(mock, SIZE, P2PBUF_MOCK_PAGES, 0);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, p2pbuf_import(fd, &self->buf, &self->error));
	for (i = 0; i < (int)(sizeof(errors) / sizeof(errors[0])); i++) {
		ASSERT_EQ(0, ptm_rule(mock, fd, P2PBUF_MOCK_OP_BEGIN_CPU,
				      P2PBUF_MOCK_FAIL, errors[i], 0, 1));
		EXPECT_EQ(-errors[i], p2pbuf_sync_begin(self->buf,
							P2PBUF_WRITE));
		EXPECT_EQ(0, p2pbuf_sync_begin(self->buf, P2PBUF_WRITE));
		ASSERT_EQ(0, ptm_rule(mock, fd, P2PBUF_MOCK_OP_END_CPU,
				      P2PBUF_MOCK_FAIL, errors[i], 0, 1));
		EXPECT_EQ(-errors[i], p2pbuf_sync_end(self->buf, P2PBUF_WRITE));
		EXPECT_EQ(0, p2pbuf_sync_end(self->buf, P2PBUF_WRITE));
	}
	ASSERT_EQ(0, ptm_rule(mock, fd, P2PBUF_MOCK_OP_BEGIN_CPU,
			      P2PBUF_MOCK_FAIL, EAGAIN, 0, 3));
	EXPECT_EQ(0, p2pbuf_sync_begin(self->buf, P2PBUF_READ));
	EXPECT_EQ(0, p2pbuf_sync_end(self->buf, P2PBUF_READ));
	close(fd);
	close(mock);
}

TEST_F(buffer, move_refuses)
{
	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, NULL, &self->buf, NULL));
	EXPECT_REFUSED(EINVAL, p2pbuf_move(self->buf, 0, 0, &self->error));
	EXPECT_REFUSED(EINVAL, p2pbuf_move(self->buf, P2PBUF_PLACEMENT_VRAM |
					   P2PBUF_PLACEMENT_SYSTEM, 0,
					   &self->error));
	EXPECT_REFUSED(EINVAL, p2pbuf_move(self->buf, P2PBUF_PLACEMENT_SYSTEM,
					   1 << 9, &self->error));
}

TEST_F(buffer, map_refuses)
{
	void *p = NULL;

	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, NULL, &self->buf, NULL));
	EXPECT_EQ(-EINVAL, p2pbuf_map(self->buf, 0, 0, 0, &p));
	EXPECT_EQ(-EINVAL, p2pbuf_map(self->buf, 0, 0, 8, &p));
	EXPECT_EQ(-EDOM, p2pbuf_map(self->buf, 512, 0, P2PBUF_READ, &p));
	EXPECT_EQ(-ERANGE, p2pbuf_map(self->buf, SIZE, 0, P2PBUF_READ, &p));
	EXPECT_EQ(-ERANGE, p2pbuf_map(self->buf, 4096, SIZE, P2PBUF_READ, &p));
	EXPECT_EQ(-ERANGE, p2pbuf_map(self->buf, 4096, SIZE_MAX, P2PBUF_READ,
				      &p));
	EXPECT_EQ(-EINVAL, p2pbuf_sync_begin(self->buf, 0));
	EXPECT_EQ(-EINVAL, p2pbuf_sync_end(self->buf, 4));
	EXPECT_EQ(NULL, p);
	ASSERT_EQ(0, p2pbuf_map(self->buf, 4096, 8192, P2PBUF_READ, &p));
	EXPECT_EQ(0, p2pbuf_unmap(p, 8192));
	EXPECT_EQ(-EINVAL, p2pbuf_unmap((char *)p + 1, 8192));
}

/*
 * One open render node has one handle for one object, however often it is
 * imported: freeing one buffer must not take it away from the other.
 */
TEST_F(buffer, shared_handle)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };
	struct p2pbuf_buffer *second, *third;
	int fd;

	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, NULL, &self->buf, NULL));
	fd = p2pbuf_export_fd(self->buf);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, p2pbuf_import(fd, &second, &self->error));
	ASSERT_EQ(0, p2pbuf_import(fd, &third, &self->error));
	close(fd);

	/* Imported, it knows no exporter until it is told. */
	ASSERT_EQ(0, p2pbuf_query(second, &info));
	EXPECT_EQ(P2PBUF_FOREIGN, info.flags);
	EXPECT_EQ(0, info.placement);
	EXPECT_REFUSED(EOPNOTSUPP, p2pbuf_move(second, P2PBUF_PLACEMENT_SYSTEM,
					       0, &self->error));
	ASSERT_EQ(0, p2pbuf_set_exporter(second, self->exporter, &self->error))
		TH_LOG("%s", self->error.text);
	ASSERT_EQ(0, p2pbuf_set_exporter(third, self->exporter, NULL));
	EXPECT_REFUSED(EALREADY, p2pbuf_set_exporter(third, self->exporter,
						     &self->error));
	p2pbuf_free(second);
	ASSERT_EQ(0, p2pbuf_move(self->buf, P2PBUF_PLACEMENT_SYSTEM, 0, NULL));
	p2pbuf_free(self->buf);
	self->buf = NULL;
	ASSERT_EQ(0, p2pbuf_query(third, &info));
	EXPECT_EQ(P2PBUF_PLACEMENT_SYSTEM, info.placement);
	EXPECT_EQ(0, p2pbuf_move(third, P2PBUF_PLACEMENT_VRAM, 0, NULL));
	p2pbuf_free(third);
}

/* The buffer outlives the exporter handle it came from. */
TEST_F(buffer, exporter_closed_first)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };
	struct p2pbuf_exporter *other;
	struct p2pbuf_buffer *buf;

	ASSERT_EQ(0, p2pbuf_exporter_open(NULL, &other, NULL));
	ASSERT_EQ(0, p2pbuf_alloc(other, SIZE, NULL, &buf, NULL));
	p2pbuf_exporter_close(other);
	EXPECT_EQ(0, p2pbuf_query(buf, &info));
	EXPECT_EQ(0, p2pbuf_move(buf, P2PBUF_PLACEMENT_SYSTEM, 0, NULL));
	p2pbuf_free(buf);
}

TEST_F(buffer, two_processes_move)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };
	struct p2pbuf_exporter *exporter;
	struct p2pbuf_buffer *got;
	int sock[2], status;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sock));
	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, NULL, &self->buf, NULL));
	pid = fork();
	if (!pid) {
		if (p2pbuf_recv(sock[1], &got, NULL, NULL) ||
		    p2pbuf_exporter_open(NULL, &exporter, NULL) ||
		    p2pbuf_set_exporter(got, exporter, NULL) ||
		    p2pbuf_move(got, P2PBUF_PLACEMENT_SYSTEM, 0, NULL))
			_exit(1);
		_exit(0);
	}
	EXPECT_EQ(0, p2pbuf_send(sock[0], self->buf, NULL, &self->error));
	waitpid(pid, &status, 0);
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, p2pbuf_query(self->buf, &info));
	EXPECT_EQ(P2PBUF_PLACEMENT_SYSTEM, info.placement);
	close(sock[0]);
	close(sock[1]);
}

TEST_F(buffer, import_refuses)
{
	int null = open("/dev/null", O_RDWR);

	EXPECT_REFUSED(EBADFD, p2pbuf_import(null, &self->buf, &self->error));
	close(null);
	EXPECT_REFUSED(EBADF, p2pbuf_import(null, &self->buf, &self->error));
	EXPECT_EQ(NULL, self->buf);
}

/* Somebody else's dma-buf: all but moving works. */
TEST_F(buffer, foreign)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };
	int fd = ptk_udmabuf(SIZE);
	void *p;

	if (fd < 0)
		SKIP(return, "no udmabuf: %s", strerror(-fd));
	ASSERT_EQ(0, p2pbuf_import(fd, &self->buf, NULL));
	close(fd);
	ASSERT_EQ(0, p2pbuf_query(self->buf, &info));
	EXPECT_EQ(SIZE, info.length);
	EXPECT_EQ(P2PBUF_FOREIGN, info.flags);
	EXPECT_STREQ("udmabuf", info.exporter_name);
	EXPECT_EQ(0, p2pbuf_map(self->buf, 0, 0, P2PBUF_READ, &p));
	EXPECT_EQ(0, p2pbuf_unmap(p, SIZE));
	/* It is not this exporter's, which must say so. */
	self->error.text[0] = '\0';
	EXPECT_GT(0, p2pbuf_set_exporter(self->buf, self->exporter,
					 &self->error));
	EXPECT_TRUE(ptl_is_sentence(&self->error)) {
		TH_LOG("text: '%s'", self->error.text);
	}
}

TEST_F(buffer, sync_file)
{
	struct pollfd pfd = { .events = POLLIN };

	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, NULL, &self->buf, NULL));
	EXPECT_EQ(-EINVAL, p2pbuf_export_sync_file(self->buf, 0));
	EXPECT_EQ(-EINVAL, p2pbuf_export_sync_file(self->buf, 1 << 5));
	pfd.fd = p2pbuf_export_sync_file(self->buf, P2PBUF_READ | P2PBUF_WRITE);
	ASSERT_LE(0, pfd.fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(pfd.fd, F_GETFD));
	/* Nobody works on it: the fence has signalled. */
	EXPECT_EQ(1, poll(&pfd, 1, 10000));
	EXPECT_EQ(0, p2pbuf_import_sync_file(self->buf, P2PBUF_WRITE, pfd.fd));
	EXPECT_EQ(-EINVAL, p2pbuf_import_sync_file(self->buf, 0, pfd.fd));
	close(pfd.fd);
	EXPECT_GT(0, p2pbuf_import_sync_file(self->buf, P2PBUF_WRITE, pfd.fd));
}

TEST_F(buffer, info_struct_sizes)
{
	struct {
		struct p2pbuf_buffer_info info;
		unsigned char more[8];
	} o = { .info.size = sizeof(o) };

	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, NULL, &self->buf, NULL));
	memset(o.more, 0xff, sizeof(o.more));
	EXPECT_EQ(0, p2pbuf_query(self->buf, &o.info));
	EXPECT_EQ(sizeof(o), o.info.size);
	EXPECT_EQ(0, o.more[0] | o.more[7]);
	o.info.size = sizeof(o.info) - 1;
	EXPECT_EQ(-EINVAL, p2pbuf_query(self->buf, &o.info));
}

TEST(every_errno_has_words)
{
	const char *text;
	int code;

	for (code = 1; code < 134; code++) {
		text = p2pbuf_strerror(code);
		ASSERT_NE(NULL, text);
		EXPECT_LT(4, strlen(text));
		EXPECT_STREQ(text, p2pbuf_strerror(-code));
	}
	/* Those that storage and RDMA have each a meaning of. */
	EXPECT_NE(NULL, strstr(p2pbuf_strerror(EREMOTEIO), "host memory"));
	EXPECT_NE(NULL, strstr(p2pbuf_strerror(EREMOTEIO), "peer"));
	EXPECT_NE(NULL, strstr(p2pbuf_strerror(EADDRINUSE), "slot"));
	EXPECT_NE(NULL, strstr(p2pbuf_strerror(EADDRINUSE), "address"));
	EXPECT_STRNE("", p2pbuf_strerror(99999));
	EXPECT_STRNE("", p2pbuf_strerror(INT_MIN));
	EXPECT_STRNE("", p2pbuf_strerror(INT_MAX));
}

TEST_HARNESS_MAIN
