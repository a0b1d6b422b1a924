/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The setting of the tests of p2pbuf_core: one mock buffer, one importer
 * through the core, and at the end a look at everything that may never
 * happen. Include after kselftest_harness.h.
 */
#ifndef P2PBUF_TEST_CORE_H
#define P2PBUF_TEST_CORE_H

#include "p2pbuf_test_mock.h"

#define PTC_SIZE	(16 * PTM_PAGE)

/**
 * struct ptc - the setting
 * @mock: open /dev/p2pbuf-mock
 * @buf: the dma-buf
 * @imp: id of the importer
 * @placement: where the buffer begins
 * @dev: stands for the importer
 * @bar: holds the buffer, or may
 */
struct ptc {
	int mock;
	int buf;
	int imp;
	__u32 placement;
	struct ptm_lent dev;
	struct ptm_lent bar;
};

/*
 * Why the setting is not possible on this machine, or NULL: the importer must
 * reach the buffer, or there is no mapping to test with.
 */
static inline const char *ptc_hopeless(__u32 placement)
{
	if (placement == P2PBUF_MOCK_PAGES && ptm_topology("swiotlb"))
		return "host memory needs bounce buffers here";
	if (placement == P2PBUF_MOCK_BAR && ptm_expect("refused"))
		return "the importer cannot reach a BAR here";
	return NULL;
}

/* The devices and the open file. 0, -ENODEV, -ENOENT. */
static inline int ptc_open(struct ptc *c, __u32 placement)
{
	int ret = 0;

	*c = (struct ptc){ .buf = -1, .imp = -1, .placement = placement };
	c->mock = ptm_open();
	if (c->mock < 0)
		return c->mock;
	ret = ptm_lend_importer(&c->dev);
	if (!ret && placement == P2PBUF_MOCK_BAR)
		ret = ptm_lend_bar(&c->bar);
	return ret;
}

/*
 * Everything. NULL, or why the test has to be skipped; when something went
 * wrong @c->imp is an errno.
 */
static inline const char *ptc_setup(struct ptc *c, __u32 placement, __u32 flags)
{
	const char *why = ptc_hopeless(placement);
	int ret;

	*c = (struct ptc){ .mock = -1, .buf = -1, .imp = -1 };
	if (why)
		return why;
	ret = ptc_open(c, placement);
	if (ret == -ENOENT)
		return "no " P2PBUF_MOCK_DEVICE;
	if (ret == -ENODEV)
		return "no function to lend to the mock";
	c->imp = ret;
	if (ret)
		return NULL;
	c->buf = ptm_create(c->mock, PTC_SIZE, placement, flags);
	c->imp = c->buf < 0 ? c->buf :
		 ptm_import(c->mock, c->buf, P2PBUF_MOCK_CORE, c->dev.name, 0);
	return NULL;
}

static inline void ptc_teardown(struct ptc *c)
{
	if (c->buf >= 0)
		close(c->buf);
	if (c->mock >= 0)
		close(c->mock);
	ptm_give_back(&c->dev);
	ptm_give_back(&c->bar);
}

/* What no importer may ever do, whatever happened. */
#define PTC_EXPECT_CLEAN(c) do {					\
	struct p2pbuf_mock_buffer_info _b = ptm_info((c)->mock, (c)->buf); \
									\
	EXPECT_EQ(0, _b.locked);					\
	EXPECT_EQ(0, _b.pins);						\
	EXPECT_EQ(0, _b.static_attaches);				\
	EXPECT_EQ(0, _b.deaf_attaches);					\
	EXPECT_EQ(0, _b.unmapped_active);				\
	EXPECT_EQ(0, _b.moved_active);					\
	EXPECT_EQ(0, _b.late_words);					\
	if ((c)->imp > 0) {						\
		struct p2pbuf_mock_import_info _i =			\
			ptm_import_info((c)->mock, (c)->imp);		\
									\
		EXPECT_EQ(0, _i.fill_active);				\
		EXPECT_EQ(0, _i.torn);					\
		EXPECT_EQ(0, _i.revoked_active);			\
		EXPECT_EQ(0, _i.late);					\
		EXPECT_GE(1, _i.revoked);				\
	}								\
} while (0)

/* In a fixture's setup: the setting, or a skip, or a failure. */
static inline void ptc_begin(struct __test_metadata *_metadata, struct ptc *c,
			     __u32 placement)
{
	const char *why = ptc_setup(c, placement, 0);

	if (why) {
		ptc_teardown(c);
		SKIP(_exit(KSFT_SKIP), "%s", why);
	}
	ASSERT_LT(0, c->imp)
		TH_LOG("setting: %s", strerror(-c->imp));
}

/* In its teardown. */
static inline void ptc_end(struct __test_metadata *_metadata, struct ptc *c)
{
	if (c->imp > 0)
		PTC_EXPECT_CLEAN(c);
	ptc_teardown(c);
}

/* What tests do, and ask, all the time; @self has the setting in @c. */
#define MAP()		ptm_call(self->c.mock, P2PBUF_MOCK_MAP, self->c.imp)
#define GET()		ptm_call(self->c.mock, P2PBUF_MOCK_GET, self->c.imp)
#define BUFFER()	ptm_info(self->c.mock, self->c.buf)
#define IMPORTER()	ptm_import_info(self->c.mock, self->c.imp)

#endif /* P2PBUF_TEST_CORE_H */
