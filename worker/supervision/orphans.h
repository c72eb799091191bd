// What a rank leaves behind where it has no control group to keep it in: processes outside its process group,
// their parents gone, their environment perhaps cleared. The supervisor is their subreaper: they become its
// children.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rtrain::supervision {

/// A rank that runs, or one that has ended; pid is its leader's.
struct RankProcess {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;
  std::string dir;
};

/// Whose child is an orphan? The rank's whose RTRAIN_RANK_DIR is in the environment it was started with, in
/// whose session it is, or below which it was seen; else nobody's that runs if all that run were started
/// after it.
/// @thread the supervisor's only one.
class Orphans {
 public:
  /// Notes what is below these ranks now. To call a few times a second: what is seen once is known by its
  /// rank for good.
  void look(const std::vector<RankProcess>& running);
  /// SIGKILL to all that is below a rank which is about to be killed: later it is nobody's child.
  static void kill_below(pid_t leader);
  /// SIGKILL to our children that belong to `ended` or to no rank at all. `running`: by pid. @return one that
  /// still lives, 0 when there is none.
  pid_t kill_left(const RankProcess& ended, const std::vector<RankProcess>& running);

 private:
  struct Seen {
    std::uint64_t start_ticks = 0;
    std::string dir;
  };
  std::map<pid_t, Seen> seen_;
};

}  // namespace rtrain::supervision
