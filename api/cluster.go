package api

import (
	"context"
	"net/http"
)

// Failover replaces the primary of the managed PostgreSQL now, dead or alive, by the node named in the request or by the
// best one, and returns once the new primary is ready.
func (c *Client) Failover(ctx context.Context, in ClusterRequest) (ClusterResult, error) {
	return c.clusterOrder(ctx, "failover", in)
}

// Switchover hands the primary's part to the node, or with "" to the best one, without losing anything, and returns once
// the new primary is ready.
func (c *Client) Switchover(ctx context.Context, node string) (ClusterResult, error) {
	return c.clusterOrder(ctx, "switchover", ClusterRequest{Node: node})
}

// Restart restarts one node's PostgreSQL, or with "" each whose settings wait for it, one after the other, and returns
// once all serve again.
func (c *Client) Restart(ctx context.Context, node string) (ClusterResult, error) {
	return c.clusterOrder(ctx, "restart", ClusterRequest{Node: node})
}

// Reinit throws a standby's data away and begins to clone it anew.
func (c *Client) Reinit(ctx context.Context, node string) (ClusterResult, error) {
	return c.clusterOrder(ctx, "reinit", ClusterRequest{Node: node})
}

// Pause turns automatic failover off.
func (c *Client) Pause(ctx context.Context) (ClusterResult, error) {
	return c.clusterOrder(ctx, "pause", ClusterRequest{})
}

// Resume turns automatic failover on again.
func (c *Client) Resume(ctx context.Context) (ClusterResult, error) {
	return c.clusterOrder(ctx, "resume", ClusterRequest{})
}

func (c *Client) clusterOrder(ctx context.Context, what string, in ClusterRequest) (ClusterResult, error) {
	var out ClusterResult
	k, err := jsonCall(http.MethodPost, "/v1/cluster/"+what, in)
	if err != nil {
		return out, err
	}
	return out, c.do(ctx, k, &out)
}
