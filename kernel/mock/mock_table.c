// SPDX-License-Identifier: GPL-2.0
/*
 * Table: the addresses of a buffer in whatever form a test wants them, true or
 * not.
 *
 * A plan of segments is made first, in terms of physical addresses; then each
 * is mapped for the device, a page or a piece of BAR at a time, so that
 * fragments stay fragments behind an IOMMU too. Lies are not mapped.
 */
#include <linux/iommu.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "mock.h"

/* No machine of the tests has anything there. */
#define MOCK_NOBODY	BIT_ULL(44)
#define MOCK_MSI	0xfee00000ULL

static const u32 mock_odd_pages[] = { 1, 2, 3, 5, 7 };

static bool mock_translates(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && domain->type != IOMMU_DOMAIN_IDENTITY;
}

/* Pages one segment may have, by the shape and the number of the segment. */
static u32 mock_plan_limit(enum p2pbuf_mock_shape shape, u32 nr,
			   struct device *dev)
{
	switch (shape) {
	case P2PBUF_MOCK_SINGLE:
	case P2PBUF_MOCK_NOBODY:
		return 1;
	case P2PBUF_MOCK_ODD:
	case P2PBUF_MOCK_ZEROLEN:
		return mock_odd_pages[nr % ARRAY_SIZE(mock_odd_pages)];
	default:
		return max(dma_get_max_seg_size(dev) >> PAGE_SHIFT, 1);
	}
}

static struct mock_seg *mock_plan_add(struct mock_map *map, phys_addr_t phys,
				      u32 len)
{
	struct mock_seg *seg = &map->seg[map->nr++];

	*seg = (struct mock_seg){ .phys = phys, .len = len };
	return seg;
}

/* The first @pages pages of the place as honest segments. */
static void mock_plan_pages(struct mock_map *map, u32 pages,
			    enum p2pbuf_mock_shape shape, struct device *dev)
{
	const phys_addr_t *phys = map->place->phys;
	u32 i, n, limit;

	for (i = 0; i < pages; i += n) {
		limit = mock_plan_limit(shape, map->nr, dev);
		for (n = 1; n < limit && i + n < pages &&
		     phys[i + n] == phys[i] + ((u64)n << PAGE_SHIFT); n++)
			;
		mock_plan_add(map, phys[i], n << PAGE_SHIFT);
		if (shape == P2PBUF_MOCK_ZEROLEN)
			mock_plan_add(map, phys[i], 0);
	}
}

static void mock_plan_lie(struct mock_map *map, u64 addr, u32 len)
{
	mock_plan_add(map, addr, len)->lie = true;
}

/* What the last page is said to be, for shapes that lie about it. */
static int mock_plan_last(struct mock_map *map, enum p2pbuf_mock_shape shape,
			  struct device *dev)
{
	struct mock_device *mdev = map->place->mdev;

	switch (shape) {
	case P2PBUF_MOCK_PAST_END:
		if (!mdev)
			return -EINVAL;
		mock_plan_add(map, mdev->base + mdev->size, PAGE_SIZE);
		return 0;
	case P2PBUF_MOCK_BEYOND_MASK:
		if (dma_get_mask(dev) == DMA_BIT_MASK(64))
			return -EINVAL;
		mock_plan_lie(map, dma_get_mask(dev) + 1, PAGE_SIZE);
		return 0;
	case P2PBUF_MOCK_WRAP:
		mock_plan_lie(map, PAGE_MASK, 2 * PAGE_SIZE);
		return 0;
	case P2PBUF_MOCK_MSI:
		mock_plan_lie(map, MOCK_MSI, PAGE_SIZE);
		return 0;
	default:
		return 0;
	}
}

static int mock_plan(struct mock_map *map, enum p2pbuf_mock_shape shape,
		     struct device *dev)
{
	u32 pages = map->place->nr, i;

	switch (shape) {
	case P2PBUF_MOCK_EMPTY:
		return 0;
	case P2PBUF_MOCK_SHORT:
	case P2PBUF_MOCK_PAST_END:
	case P2PBUF_MOCK_BEYOND_MASK:
	case P2PBUF_MOCK_WRAP:
	case P2PBUF_MOCK_MSI:
		pages--;
		break;
	default:
		break;
	}
	mock_plan_pages(map, pages, shape, dev);

	switch (shape) {
	case P2PBUF_MOCK_LONG:
		mock_plan_add(map, map->place->phys[pages - 1], PAGE_SIZE);
		return 0;
	case P2PBUF_MOCK_RAW:
		for (i = 0; i < map->nr; i++)
			map->seg[i].lie = true;
		return 0;
	case P2PBUF_MOCK_NOBODY:
		if (mock_translates(dev)) {
			map->seg[map->nr / 2].withdrawn = true;
		} else {
			map->seg[map->nr / 2].phys = MOCK_NOBODY;
			map->seg[map->nr / 2].lie = true;
		}
		return 0;
	default:
		return mock_plan_last(map, shape, dev);
	}
}

static unsigned long mock_attrs(const struct mock_map *map)
{
	/*
	 * Nothing is cached here, and many importers may map the same page,
	 * which dma-debug takes for a leak unless it is told.
	 */
	return DMA_ATTR_DEBUGGING_IGNORE_CACHELINES |
	       (map->place->mdev ? DMA_ATTR_MMIO : DMA_ATTR_SKIP_CPU_SYNC);
}

/*
 * Takes the page away behind its address and keeps the address: one that went
 * back to the allocator could lead to another page the next moment.
 */
static void mock_withdraw_seg(struct mock_seg *seg, struct device *dev)
{
	iommu_unmap(iommu_get_domain_for_dev(dev), seg->addr, seg->len);
}

/* The DMA layer warns of a mapping in which it finds nothing to end. */
static void mock_restore_seg(struct mock_seg *seg, struct device *dev)
{
	iommu_map(iommu_get_domain_for_dev(dev), seg->addr, seg->phys, seg->len,
		  IOMMU_READ | IOMMU_WRITE, GFP_KERNEL | __GFP_NOFAIL);
}

static void mock_unmap_seg(struct mock_map *map, struct mock_seg *seg,
			   struct device *dev)
{
	if (seg->mapped && seg->withdrawn)
		mock_restore_seg(seg, dev);
	if (seg->mapped)
		dma_unmap_phys(dev, seg->addr, seg->len, DMA_BIDIRECTIONAL,
			       mock_attrs(map));
	seg->mapped = false;
}

static int mock_map_seg(struct mock_map *map, struct mock_seg *seg,
			struct device *dev)
{
	struct mock_device *mdev = map->place->mdev;

	if (seg->lie || !seg->len) {
		seg->addr = seg->phys;
		return 0;
	}
	/* Without translation a BAR is what the bus calls it. */
	if (mdev && !mock_translates(dev)) {
		seg->addr = pci_bus_address(mdev->pdev, mdev->bar) +
			    (seg->phys - mdev->base);
		return 0;
	}
	seg->addr = dma_map_phys(dev, seg->phys, seg->len, DMA_BIDIRECTIONAL,
				 mock_attrs(map));
	if (dma_mapping_error(dev, seg->addr))
		return -EIO;
	seg->mapped = true;
	if (seg->withdrawn)
		mock_withdraw_seg(seg, dev);
	return 0;
}

static int mock_map_segs(struct mock_map *map, struct device *dev)
{
	struct mock_seg *seg;
	int ret;

	for (seg = map->seg; seg < map->seg + map->nr; seg++) {
		ret = mock_map_seg(map, seg, dev);
		if (ret)
			goto unmap;
	}
	return 0;

unmap:
	while (seg-- > map->seg)
		mock_unmap_seg(map, seg, dev);
	return ret;
}

static int mock_fill_sgt(struct mock_map *map, enum p2pbuf_mock_shape shape)
{
	struct scatterlist *sg;
	int i, ret;

	/* There is no allocating a list of nothing. */
	ret = sg_alloc_table(&map->sgt, max(map->nr, 1), GFP_KERNEL);
	if (ret)
		return ret;
	map->sgt.nents = map->nr;
	for_each_sg(map->sgt.sgl, sg, map->nr, i) {
		sg_dma_address(sg) = map->seg[i].addr;
		sg_dma_len(sg) = map->seg[i].len;
	}
	if (shape == P2PBUF_MOCK_UNALIGNED_ADDR)
		sg_dma_address(map->sgt.sgl) += SZ_512;
	if (shape == P2PBUF_MOCK_UNALIGNED_LEN)
		sg_dma_len(map->sgt.sgl) += SZ_512;
	return 0;
}

/**
 * mock_map_create - map the place of a buffer, in the shape that was asked for
 * @buf: the buffer; its resv is held
 * @dev: the importer's device
 *
 * Return: the mapping, or an ERR_PTR: -ENOMEM, -EIO, or -EINVAL when the shape
 * makes no sense here.
 */
struct mock_map *mock_map_create(struct mock_buffer *buf, struct device *dev)
{
	/* Twice the pages for empty segments, two for what lies add. */
	u32 room = 2 * buf->nr + 2;
	struct mock_map *map;
	int ret;

	dma_resv_assert_held(buf->dmabuf->resv);

	map = kvzalloc(struct_size(map, seg, room), GFP_KERNEL);
	if (!map)
		return ERR_PTR(-ENOMEM);
	map->place = buf->place;
	ret = mock_plan(map, buf->shape, dev);
	if (ret)
		goto free_map;
	ret = mock_map_segs(map, dev);
	if (ret)
		goto free_map;
	ret = mock_fill_sgt(map, buf->shape);
	if (ret)
		goto unmap_segs;
	mock_place_get(map->place);
	return map;

unmap_segs:
	while (map->nr)
		mock_unmap_seg(map, &map->seg[--map->nr], dev);
free_map:
	kvfree(map);
	return ERR_PTR(ret);
}

void mock_map_destroy(struct mock_map *map, struct device *dev)
{
	u32 i;

	for (i = 0; i < map->nr; i++)
		mock_unmap_seg(map, &map->seg[i], dev);
	sg_free_table(&map->sgt);
	mock_place_put(map->place);
	kvfree(map);
}
