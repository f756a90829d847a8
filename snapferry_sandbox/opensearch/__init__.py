"""OpenSearch clusters: assembled from Maven Central, one node each."""
