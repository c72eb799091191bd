// SQLite with owners and without return codes that nobody looks at.
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace rtrain::store {

/// What the caller can do about a failure of the database.
enum class Trouble {
  kNoSpace,  ///< disk or quota full: the transaction was undone; try again when there is room
  kNoFiles,  ///< no file descriptor: the same
  kIo,       ///< a read, a write or an fsync failed: nothing can be relied on
  kCorrupt,  ///< the file is no database, or a broken one
  kOther,    ///< busy, a constraint, a bug
};

class Database;

/// A prepared statement. Bind from index 1, in order; step() until it says false; it starts again by itself.
/// @thread the connection's.
class Statement {
 public:
  Statement() = default;
  Statement& bind(std::int64_t value);
  /// The text is not copied: it must live until the statement was stepped to its end.
  Statement& bind(std::string_view text);
  Statement& bind_null();
  /// True: a row is there. False: no more; the statement is reset and can be bound again.
  [[nodiscard]] Result<bool> step();
  /// For statements that give no rows.
  [[nodiscard]] Result<Done> run();
  /// Leaves the rows that were not asked for. A statement that stands on a row holds a read transaction open.
  void reset();

  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] std::string_view text(int column) const;  ///< until the next step
  [[nodiscard]] bool is_null(int column) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  Statement(Database& database, sqlite3_stmt* statement) : database_(&database), statement_(statement) {}
  Database* database_ = nullptr;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bound_ = 0;
};

/// One connection. Errors name the file; trouble() says of which kind the last one was. Their code is
/// kUnavailable for kNoSpace, kLimit for kNoFiles, else kIo.
/// @thread one at a time.
class Database {
 public:
  enum class Mode { kReadOnly, kReadWrite, kCreate };
  [[nodiscard]] static Result<std::unique_ptr<Database>> open(const std::string& path, Mode mode);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  [[nodiscard]] Result<Done> execute(const std::string& sql);
  [[nodiscard]] Result<Statement> prepare(std::string_view sql);
  /// The first column of the first row.
  [[nodiscard]] Result<std::int64_t> integer(std::string_view sql);
  [[nodiscard]] Result<std::string> text(std::string_view sql);

  /// Runs `work` in a transaction; undoes it when it fails, or when the commit does.
  template <class Work>
  [[nodiscard]] Result<Done> transaction(Work work) {
    if (auto begun = execute("BEGIN IMMEDIATE"); !begun) return begun;
    Result<Done> done = work();
    if (done) done = execute("COMMIT");
    if (!done) roll_back();
    return done;
  }

  [[nodiscard]] Trouble trouble() const { return trouble_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] sqlite3* handle() const { return db_.get(); }
  /// The error of a return code of SQLite, of this connection; remembers its kind.
  [[nodiscard]] Error failed(int code, std::string_view doing);

 private:
  struct Close {
    void operator()(sqlite3* db) const;
  };
  Database(std::string path, sqlite3* db) : path_(std::move(path)), db_(db) {}
  void roll_back();

  std::string path_;
  std::unique_ptr<sqlite3, Close> db_;
  Trouble trouble_ = Trouble::kOther;
};

}  // namespace rtrain::store
