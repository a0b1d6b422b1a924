// SPDX-License-Identifier: GPL-2.0
/*
 * A device that stands for the CPU.
 *
 * Some importers have no DMA device: a software RDMA device copies with the
 * CPU. dma-buf has no attachment without a device, so they attach this one. It
 * is mapped one to one, without an IOMMU, so the DMA addresses it is given are
 * physical ones; whether there is a page behind one is for the importer to
 * find out. An exporter that knows the device may give it addresses of a BAR.
 */
#include <linux/device/faux.h>
#include <linux/dma-mapping.h>
#include "core.h"

static struct faux_device *p2pbuf_cpu;

/* No limit to segments: what is copied by the CPU has none. */
static struct device_dma_parameters p2pbuf_cpu_parms = {
	.max_segment_size = UINT_MAX,
	.segment_boundary_mask = ULONG_MAX,
};

/**
 * p2pbuf_cpu_device - the device to attach for an importer that has none
 *
 * Return: the device; it lives as long as the core, and is always bound.
 */
struct device *p2pbuf_cpu_device(void)
{
	return &p2pbuf_cpu->dev;
}
EXPORT_SYMBOL_GPL(p2pbuf_cpu_device);

int p2pbuf_cpu_init(void)
{
	int ret;

	p2pbuf_cpu = faux_device_create("p2pbuf_cpu", NULL, NULL);
	if (!p2pbuf_cpu)
		return -ENODEV;
	p2pbuf_cpu->dev.dma_parms = &p2pbuf_cpu_parms;
	ret = dma_coerce_mask_and_coherent(&p2pbuf_cpu->dev, DMA_BIT_MASK(64));
	if (ret)
		faux_device_destroy(p2pbuf_cpu);
	return ret;
}

void p2pbuf_cpu_exit(void)
{
	faux_device_destroy(p2pbuf_cpu);
}
