/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the provider of the test NIC lacks: ibv_reg_dmabuf_mr().
 *
 * The test NIC is served by the provider of rxe, which cannot register dma-bufs
 * because rxe cannot. Whatever defines this function, a program or a library
 * that is loaded before libibverbs, has it called in the place of the one in
 * libibverbs. It gives the kernel the same call that a provider would.
 */
#ifndef P2PBUF_TEST_PROVIDER_H
#define P2PBUF_TEST_PROVIDER_H

#include "p2pbuf_test_verbs.h"

/*
 * The provider makes a region as it always does, so that it can end it as it
 * always does; then the kernel's object behind it is exchanged.
 */
struct ibv_mr *ibv_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset,
				 size_t length, uint64_t iova, int fd,
				 int access)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct ptv_mr dmabuf, host = { };
	struct ibv_mr *mr;
	int ret;

	mr = ibv_reg_mr(pd, page, sizeof(page), 0);
	if (!mr)
		return NULL;
	ret = ptv_reg(pd, fd, offset, length, iova, access, &dmabuf);
	if (ret) {
		ibv_dereg_mr(mr);
		errno = -ret;
		return NULL;
	}
	host.handle = mr->handle;
	ptv_dereg(pd->context, &host);
	mr->handle = dmabuf.handle;
	mr->lkey = dmabuf.lkey;
	mr->rkey = dmabuf.rkey;
	mr->addr = (void *)(uintptr_t)offset;
	mr->length = length;
	return mr;
}

#endif /* P2PBUF_TEST_PROVIDER_H */
