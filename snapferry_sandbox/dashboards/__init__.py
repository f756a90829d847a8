"""OpenSearch Dashboards."""
