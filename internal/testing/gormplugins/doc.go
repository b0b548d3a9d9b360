// Package gormplugins holds tests with GORM plugins of others beside the plugin. It is a
// module of its own because they bring drivers of other databases.
package gormplugins
