/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Shared inside the library; nothing here is exported.
 *
 * Ownership: a buffer holds a reference on its exporter, a binding on the file
 * it issues I/O through. A binding holds none on its buffer: the kernel's
 * binding has its own. So handles may be ended in any order.
 *
 * Locks: one mutex per exporter, for its GEM handles. Everything else in a
 * handle is constant once it was returned to the caller.
 */
#ifndef P2PBUF_INTERNAL_H
#define P2PBUF_INTERNAL_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <p2pbuf.h>

#define P2PBUF_PAGE	4096u

/* ---- error.c ---- */

__attribute__((format(printf, 3, 4)))
void p2pbuf_error_set(struct p2pbuf_error *error, int code,
		      const char *fmt, ...);

/*
 * Stores the reason and returns -@_code, so that a refusal is one statement.
 * @_error may be NULL. A macro, for a compiler to see that it is no success,
 * whatever errno holds.
 */
#define p2pbuf_fail(_error, _code, ...)					\
({									\
	int __code = (_code);						\
									\
	if (__code <= 0)						\
		__code = EIO;						\
	p2pbuf_error_set(_error, __code, __VA_ARGS__);			\
	-__code;							\
})

/* ---- struct.c ---- */

/*
 * Take the caller's struct, whose first field is its size, into @dst of
 * @known bytes: -EINVAL when it is shorter than @min, -E2BIG when it is longer
 * and the bytes unknown here are not zero. A NULL @src is all zero.
 */
int p2pbuf_struct_in(void *dst, size_t known, const void *src, size_t min,
		     struct p2pbuf_error *error);
/* Give @src to the caller's struct, whose size field stays as it was. */
int p2pbuf_struct_out(void *dst, const void *src, size_t known, size_t min);

/* ---- exporter.c ---- */

/*
 * PRIME gives one handle per object and open file however often the object is
 * imported, and one GEM_CLOSE ends it: handles are counted here.
 */
struct p2pbuf_gem {
	struct p2pbuf_gem *next;
	uint32_t handle;
	unsigned int refs;
};

struct p2pbuf_exporter {
	atomic_uint refs;
	int fd;
	pthread_mutex_t lock;
	struct p2pbuf_gem *handles;
	char node[64];
	char device[16];
};

struct p2pbuf_exporter *p2pbuf_exporter_get(struct p2pbuf_exporter *exporter);
/* The handle of a dma-buf on @exporter: 0 or -errno. */
int p2pbuf_gem_import(struct p2pbuf_exporter *exporter, int dmabuf_fd,
		      uint32_t *handle);
void p2pbuf_gem_put(struct p2pbuf_exporter *exporter, uint32_t handle);

/* ioctl() again as long as a signal interrupts it; 0 or more, or -errno. */
int p2pbuf_ioctl(int fd, unsigned long request, void *arg);

/* ---- buffer.c ---- */

struct p2pbuf_buffer {
	int fd;
	uint64_t length;
	/* NULL: made by somebody else, and nobody said by whom. */
	struct p2pbuf_exporter *exporter;
	uint32_t handle;
};

/* As p2pbuf_import(), but @fd becomes the library's, on failure too. */
int p2pbuf_buffer_adopt(int fd, struct p2pbuf_buffer **buf,
			struct p2pbuf_error *error);

/* ---- path.c ---- */

#define P2PBUF_BDF_LEN	16
void p2pbuf_pci_text(uint32_t pci, char text[P2PBUF_BDF_LEN]);

/* ---- bind.c ---- */

/*
 * What a backend tells about a binding when it makes it. Constant afterwards,
 * so that p2pbuf_prep_*() can judge a request without asking the kernel.
 */
struct p2pbuf_limits {
	uint64_t offset;
	uint64_t length;
	uint64_t capacity;
	uint64_t max_io;
	uint64_t max_len;
	uint32_t block_size;
	uint32_t buf_align;
	uint32_t rights;
	uint32_t flags;
};

struct p2pbuf_binding {
	const struct p2pbuf_backend *backend;
	struct p2pbuf_limits limits;
	char target[64];
};

/*
 * @target: what @fd is called
 * @before: the buffer before anything attached to it; for what the exporter
 *	did on its own meanwhile
 */
struct p2pbuf_bind_args {
	struct io_uring *ring;
	struct p2pbuf_buffer *buf;
	int fd;
	struct stat st;
	char target[64];
	struct p2pbuf_bind_opts opts;
	struct p2pbuf_buffer_info before;
};

/* Did the exporter itself take the buffer out of VRAM since? */
bool p2pbuf_bind_displaced(const struct p2pbuf_bind_args *args);

/*
 * One way of doing I/O. A backend embeds struct p2pbuf_binding first.
 * @name: for p2pbuf_bind_info.backend
 * @claim: is this file for this backend? 0, or why not; the last backend's
 *	refusal is what the caller of p2pbuf_bind() is told
 * @bind: makes the binding with limits and all
 * @prep: fills an SQE; the request was judged before, cannot fail
 * @info: fills what the limits do not tell
 * @io_error: a sentence on a CQE's error; returns false to leave it to the
 *	general table
 * @fd: the file that SQEs go to
 * @unbind: ends and frees it; waits for I/O in flight, cannot fail
 */
struct p2pbuf_backend {
	const char *name;
	int (*claim)(const struct p2pbuf_bind_args *args,
		     struct p2pbuf_error *error);
	int (*bind)(const struct p2pbuf_bind_args *args,
		    struct p2pbuf_binding **binding,
		    struct p2pbuf_error *error);
	void (*prep)(struct io_uring_sqe *sqe, struct p2pbuf_binding *binding,
		     uint32_t direction, uint64_t buf_off, uint32_t len,
		     uint64_t file_off, uint32_t flags);
	int (*info)(struct p2pbuf_binding *binding,
		    struct p2pbuf_bind_info *info);
	bool (*io_error)(struct p2pbuf_binding *binding, int code,
			 struct p2pbuf_error *error);
	int (*fd)(struct p2pbuf_binding *binding);
	void (*unbind)(struct p2pbuf_binding *binding);
};

extern const struct p2pbuf_backend p2pbuf_backend_nvme;

#endif /* P2PBUF_INTERNAL_H */
