// SPDX-License-Identifier: GPL-2.0
/*
 * Tables of every shape, seen through the core (invariants 8 and 9): honest
 * ones are mapped, whatever they look like, with the path that they have;
 * those that lie are refused with the reason, before the importer sees them,
 * and leave nothing mapped.
 */
#include "kselftest_harness.h"
#include "p2pbuf_test_core.h"

/* Where the importer may not write to a page that is not the buffer's. */
#define MASK_BITS	40

FIXTURE(table) { struct ptc c; };
FIXTURE_VARIANT(table) { __u32 placement; };
FIXTURE_VARIANT_ADD(table, pages) { .placement = P2PBUF_MOCK_PAGES, };
FIXTURE_VARIANT_ADD(table, bar) { .placement = P2PBUF_MOCK_BAR, };

FIXTURE_SETUP(table)
{
	int ret = ptc_open(&self->c, variant->placement);

	if (ret == -ENOENT)
		SKIP(return, "no " P2PBUF_MOCK_DEVICE);
	if (ret == -ENODEV)
		SKIP(return, "no function to lend to the mock");
	ASSERT_EQ(0, ret);
	self->c.buf = ptm_create(self->c.mock, PTC_SIZE, variant->placement,
				 0);
	ASSERT_LE(0, self->c.buf);
	self->c.imp = ptm_import(self->c.mock, self->c.buf, P2PBUF_MOCK_CORE,
				 self->c.dev.name, 0);
	ASSERT_LT(0, self->c.imp);
}

FIXTURE_TEARDOWN(table)
{
	if (self->c.imp > 0)
		PTC_EXPECT_CLEAN(&self->c);
	ptc_teardown(&self->c);
}

#define REMAP()	 ptm_call(self->c.mock, P2PBUF_MOCK_REMAP, self->c.imp)
#define SHAPE(s) ptm_shape(self->c.mock, self->c.buf, P2PBUF_MOCK_##s)

static bool behind_iommu(void)
{
	return ptm_topology("epyc-iommu") || ptm_topology("switch-iommu");
}

/* What an honest table is worth on this machine: 0 or the refusal's errno. */
static int honest(__u32 placement)
{
	if (placement == P2PBUF_MOCK_PAGES)
		return ptm_topology("swiotlb") ? -EADDRNOTAVAIL : 0;
	if (ptm_topology("q35-refuse"))
		return -EHOSTUNREACH;
	/* Mapped by the IOMMU, and the host bridge does not forward. */
	if (ptm_topology("switch-iommu"))
		return -EHOSTUNREACH;
	return 0;
}

static __u32 honest_path(__u32 placement)
{
	if (placement == P2PBUF_MOCK_PAGES)
		return P2PBUF_PATH_SYSTEM;
	return ptm_expect("bus") ? P2PBUF_PATH_BUS : P2PBUF_PATH_BRIDGE;
}

/* A refusal leaves no trace but its reason. */
#define EXPECT_REFUSED(_err, _reason) do {				\
	struct p2pbuf_mock_import_info _i;				\
	__u32 _fills = IMPORTER().fills;				\
									\
	EXPECT_EQ(_err, MAP());						\
	_i = IMPORTER();						\
	EXPECT_EQ(P2PBUF_PATH_REFUSED, _i.path.path);			\
	EXPECT_EQ(_reason, _i.path.reason);				\
	EXPECT_EQ(_fills, _i.fills);					\
	EXPECT_EQ(0, _i.mapped);					\
	EXPECT_EQ(0, BUFFER().live);					\
	EXPECT_NE(0, GET());						\
} while (0)

/* ---- honest tables -------------------------------------------------------------- */

TEST_F(table, honest_shapes)
{
	static const __u32 shapes[] = {
		P2PBUF_MOCK_WHOLE, P2PBUF_MOCK_SINGLE, P2PBUF_MOCK_ODD,
		P2PBUF_MOCK_ZEROLEN,
	};
	struct p2pbuf_mock_import_info info;
	unsigned int i;

	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		ASSERT_EQ(0, ptm_shape(self->c.mock, self->c.buf, shapes[i]));
		EXPECT_EQ(honest(variant->placement), REMAP());
		if (honest(variant->placement))
			continue;
		info = IMPORTER();
		EXPECT_EQ(honest_path(variant->placement), info.path.path);
		EXPECT_EQ(P2PBUF_REASON_NONE, info.path.reason);
		EXPECT_EQ(pci_id(self->c.dev.name), info.path.importer);
		EXPECT_EQ(variant->placement == P2PBUF_MOCK_BAR ?
			  pci_id(self->c.bar.name) : P2PBUF_PATH_NO_DEVICE,
			  info.path.exporter);
		EXPECT_EQ(PTC_SIZE, info.fill_bytes);
		if (shapes[i] == P2PBUF_MOCK_SINGLE)
			EXPECT_EQ(PTC_SIZE / PTM_PAGE, info.fill_segments);
	}
}

/* The pages in any order are as good. */
TEST_F(table, shuffled_pages)
{
	int imp, buf;

	buf = ptm_create(self->c.mock, 64 * PTM_PAGE, variant->placement,
			 P2PBUF_MOCK_SHUFFLE);
	ASSERT_LE(0, buf);
	imp = ptm_import(self->c.mock, buf, P2PBUF_MOCK_CORE, self->c.dev.name,
			 0);
	ASSERT_LT(0, imp);
	EXPECT_EQ(honest(variant->placement),
		  ptm_call(self->c.mock, P2PBUF_MOCK_MAP, imp));
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLOSE, imp));
	close(buf);
}

/* More than the buffer does no harm. */
TEST_F(table, longer_than_the_buffer)
{
	ASSERT_EQ(0, SHAPE(LONG));
	EXPECT_EQ(honest(variant->placement), MAP());
	if (!honest(variant->placement))
		EXPECT_EQ(PTC_SIZE + PTM_PAGE, IMPORTER().fill_bytes);
}

/* An exporter that cannot pin is as good as one that can. */
TEST_F(table, exporter_without_pin)
{
	int imp, buf;

	buf = ptm_create(self->c.mock, PTC_SIZE, variant->placement,
			 P2PBUF_MOCK_STATIC);
	ASSERT_LE(0, buf);
	imp = ptm_import(self->c.mock, buf, P2PBUF_MOCK_CORE, self->c.dev.name,
			 0);
	ASSERT_LT(0, imp);
	EXPECT_EQ(honest(variant->placement),
		  ptm_call(self->c.mock, P2PBUF_MOCK_MAP, imp));
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLOSE, imp));
	EXPECT_EQ(0, ptm_info(self->c.mock, buf).live);
	close(buf);
}

/* 9: what would need the CPU's help around each transfer. */
TEST_F(table, bounce_buffers)
{
	if (!ptm_topology("swiotlb"))
		SKIP(return, "nothing bounces here");
	if (variant->placement != P2PBUF_MOCK_PAGES)
		SKIP(return, "a BAR does not bounce");
	EXPECT_REFUSED(-EADDRNOTAVAIL, P2PBUF_REASON_BOUNCE);
	ASSERT_EQ(0, SHAPE(SINGLE));
	EXPECT_REFUSED(-EADDRNOTAVAIL, P2PBUF_REASON_BOUNCE);
}

/* ---- tables that lie ----------------------------------------------------------------- */

TEST_F(table, empty)
{
	int ret;

	ASSERT_EQ(0, SHAPE(EMPTY));
	ret = MAP();
	/* Kernels that check dma-bufs refuse it before we see it. */
	if (ret == -EINVAL)
		SKIP(return, "refused by CONFIG_DMABUF_DEBUG");
	EXPECT_EQ(-EFAULT, ret);
	EXPECT_REFUSED(-EFAULT, P2PBUF_REASON_NOWHERE);
}

TEST_F(table, too_short)
{
	ASSERT_EQ(0, SHAPE(SHORT));
	EXPECT_REFUSED(-EFAULT, P2PBUF_REASON_NOWHERE);
}

TEST_F(table, not_whole_pages)
{
	/* Where everything bounces, that is the reason given. */
	bool bounce = honest(variant->placement) == -EADDRNOTAVAIL;
	int err = bounce ? -EADDRNOTAVAIL : -EFAULT;
	__u32 reason = bounce ? P2PBUF_REASON_BOUNCE : P2PBUF_REASON_UNALIGNED;

	ASSERT_EQ(0, SHAPE(UNALIGNED_ADDR));
	EXPECT_REFUSED(err, reason);
	ASSERT_EQ(0, SHAPE(UNALIGNED_LEN));
	EXPECT_REFUSED(err, reason);
}

/* One page of many leads nowhere. */
TEST_F(table, one_page_leads_nowhere)
{
	if (honest(variant->placement))
		SKIP(return, "the honest pages are refused already");
	ASSERT_EQ(0, SHAPE(NOBODY));
	EXPECT_REFUSED(-EFAULT, P2PBUF_REASON_NOWHERE);
}

TEST_F(table, address_space_wraps)
{
	if (honest(variant->placement))
		SKIP(return, "the honest pages are refused already");
	ASSERT_EQ(0, SHAPE(WRAP));
	EXPECT_REFUSED(-ENODATA, P2PBUF_REASON_OPAQUE);
}

TEST_F(table, interrupts)
{
	if (honest(variant->placement))
		SKIP(return, "the honest pages are refused already");
	ASSERT_EQ(0, SHAPE(MSI));
	EXPECT_REFUSED(-EFAULT, P2PBUF_REASON_NOWHERE);
}

TEST_F(table, past_the_end_of_the_bar)
{
	struct p2pbuf_mock_import_info info;
	int ret;

	if (variant->placement != P2PBUF_MOCK_BAR)
		SKIP(return, "no BAR");
	if (honest(variant->placement))
		SKIP(return, "the honest pages are refused already");
	ASSERT_EQ(0, SHAPE(PAST_END));
	ret = MAP();
	info = IMPORTER();
	printf("# %d, reason %u\n", ret, info.path.reason);
	/* Nothing, or somebody else's BAR; either is refused. */
	EXPECT_GT(0, ret);
	EXPECT_EQ(P2PBUF_PATH_REFUSED, info.path.path);
	EXPECT_EQ(0, info.fills);
	EXPECT_EQ(0, BUFFER().live);
}

TEST_F(table, beyond_the_mask)
{
	int imp;

	if (honest(variant->placement))
		SKIP(return, "the honest pages are refused already");
	/* The mask is the device's; set it, then back. */
	imp = ptm_import_bits(self->c.mock, self->c.buf, P2PBUF_MOCK_CORE,
			      self->c.dev.name, 0, MASK_BITS);
	ASSERT_LT(0, imp);
	ASSERT_EQ(0, SHAPE(BEYOND_MASK));
	EXPECT_REFUSED(-ENODATA, P2PBUF_REASON_OPAQUE);
	ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLOSE, imp));
	imp = ptm_import(self->c.mock, self->c.buf, P2PBUF_MOCK_CORE,
			 self->c.dev.name, 0);
	ASSERT_LT(0, imp);
	ASSERT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLOSE, imp));
}

/* Addresses that were never mapped for the device. */
TEST_F(table, raw_addresses)
{
	ASSERT_EQ(0, SHAPE(RAW));
	if (!behind_iommu()) {
		/* Nothing translates: they are right by luck, or bounce. */
		EXPECT_EQ(ptm_topology("swiotlb") ? 0 :
			  honest(variant->placement), MAP());
		return;
	}
	EXPECT_REFUSED(-EFAULT, variant->placement == P2PBUF_MOCK_BAR &&
		       ptm_topology("switch-iommu") ?
		       P2PBUF_REASON_BUS_UNDER_IOMMU : P2PBUF_REASON_NOWHERE);
}

/* ---- over and over ------------------------------------------------------------------------- */

/* After each refusal an honest table is as good as ever. */
TEST_F(table, refused_then_honest)
{
	__u32 shape;

	if (honest(variant->placement))
		SKIP(return, "the honest pages are refused already");
	for (shape = 0; shape < P2PBUF_MOCK_SHAPES; shape++) {
		int ret;

		ASSERT_EQ(0, ptm_shape(self->c.mock, self->c.buf, shape));
		ret = REMAP();
		EXPECT_EQ(!ret, !GET());
		if (!ret)
			EXPECT_EQ(0, ptm_put(self->c.mock, self->c.imp,
					     P2PBUF_MOCK_TASK, 0));
		ASSERT_EQ(0, SHAPE(WHOLE));
		EXPECT_EQ(0, REMAP());
		EXPECT_EQ(honest_path(variant->placement),
			  IMPORTER().path.path);
		EXPECT_EQ(0, ptm_io(self->c.mock, self->c.imp, 0, shape, 0));
		EXPECT_TRUE(ptm_until(!IMPORTER().active));
		EXPECT_EQ(shape, ptm_word(self->c.mock, self->c.buf, 0));
	}
}

/* The table goes bad when the buffer moves: the old mapping is gone as well. */
TEST_F(table, bad_after_a_move)
{
	if (honest(variant->placement))
		SKIP(return, "the honest pages are refused already");
	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, SHAPE(SHORT));
	/* Mapped is mapped: the shape is of mappings to come. */
	EXPECT_EQ(0, MAP());
	ASSERT_EQ(0, ptm_move(self->c.mock, self->c.buf, variant->placement,
			      0));
	EXPECT_REFUSED(-EFAULT, P2PBUF_REASON_NOWHERE);
	EXPECT_EQ(-EFAULT, ptm_io(self->c.mock, self->c.imp, 0, 1, 0));
	ASSERT_EQ(0, SHAPE(WHOLE));
	EXPECT_EQ(0, ptm_io(self->c.mock, self->c.imp, 0, 1, 0));
}

/*
 * From host memory to a BAR and back: the verdict is one on each mapping, not
 * one for all time.
 */
TEST_F(table, from_place_to_place)
{
	static const __u32 places[] = { P2PBUF_MOCK_PAGES, P2PBUF_MOCK_BAR };
	unsigned int i;

	if (variant->placement != P2PBUF_MOCK_BAR)
		SKIP(return, "no BAR");
	for (i = 0; i < 6; i++) {
		__u32 place = places[i & 1];

		ASSERT_EQ(0, ptm_move(self->c.mock, self->c.buf, place, 0));
		EXPECT_EQ(honest(place), MAP());
		EXPECT_EQ(honest(place) ? P2PBUF_PATH_REFUSED :
			  honest_path(place), IMPORTER().path.path);
		if (honest(place))
			continue;
		EXPECT_EQ(0, ptm_io(self->c.mock, self->c.imp, 8 * i, i + 1,
				    100));
		EXPECT_TRUE(ptm_until(!IMPORTER().active));
		EXPECT_EQ(i + 1, ptm_word(self->c.mock, self->c.buf, 8 * i));
	}
}

TEST_HARNESS_MAIN
