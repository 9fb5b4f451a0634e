// Package docs reads the project's Markdown for its tests, which hold what the pages say to the program: links lead
// somewhere, verbs, flags, routes, functions and metrics exist, and examples of configuration load. The generated
// pages of the reference are made, and compared, by the packages that they describe. It owns no goroutine.
package docs
