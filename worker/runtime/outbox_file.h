// What a rank told its agent, on its node's disk, so that neither its own death nor the agent's loses it
// (proto/record/rank_files.h).
#pragma once

#include "common/base/result.h"
#include "proto/message/outbox.h"

#include <string>

namespace rtrain::runtime {

/// @thread the session's.
class OutboxFile {
 public:
  explicit OutboxFile(const std::string& rank_dir);
  ~OutboxFile();
  OutboxFile(const OutboxFile&) = delete;
  OutboxFile& operator=(const OutboxFile&) = delete;

  /// One message as a line. After an error nothing is written any more, and ok() says so.
  void append(const std::string& json);
  /// True when the file has become mostly messages that are stored elsewhere by now: of its size,
  /// `kept_bytes` are still needed.
  [[nodiscard]] bool wants_rewrite(std::size_t kept_bytes) const {
    return ok() && size_ > kRewriteAbove && size_ / 4 > kept_bytes;
  }
  /// Starts the file anew with these lines.
  void rewrite(const std::string& lines);
  [[nodiscard]] bool ok() const { return fd_ >= 0; }

 private:
  static constexpr std::size_t kRewriteAbove = 1u << 20;
  void write(const std::string& text);
  void give_up(const std::string& what);

  std::string path_;
  int fd_ = -1;
  std::size_t size_ = 0;
};

}  // namespace rtrain::runtime
