package doctor

// JudgeVersion is for tests: older servers than the supported ones can't be had.
func JudgeVersion(major int) Finding { return judgeVersion(major) }

// DeclaredTypes reads the source of a function.
var DeclaredTypes = declaredTypes
