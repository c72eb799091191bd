// The table of verbs: what `rtrain help` prints, what the parser accepts and what runs, in one place.
#pragma once

#include "cli/console.h"
#include "cli/exit_code.h"

#include <map>
#include <span>
#include <string>
#include <vector>

namespace rtrain::cli {

struct Option {
  std::string name;      ///< "follow": --follow
  char letter = 0;       ///< 'f': -f; 0 none
  std::string argument;  ///< "N": takes a value; empty: a switch
  std::string help;
};

struct Example {
  std::string command;  ///< starts with "rtrain "
  std::string what;
};

/// What the command line gave to a verb. Of an option that is repeated the last one counts, except for
/// texts().
class Arguments {
 public:
  std::vector<std::string> positionals;
  std::map<std::string, std::vector<std::string>> values;  ///< by long name; a switch has {}

  [[nodiscard]] bool has(const std::string& name) const { return values.contains(name); }
  [[nodiscard]] std::optional<std::string> text(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> texts(const std::string& name) const;
  /// nullopt when absent; kInvalidArgument when it is no whole number within [min, max].
  [[nodiscard]] Result<std::optional<std::int64_t>> integer(const std::string& name, std::int64_t min,
                                                            std::int64_t max) const;
  /// Seconds, > 0, with a fraction.
  [[nodiscard]] Result<std::optional<double>> seconds(const std::string& name) const;
};

struct Verb;

/// One call of a verb.
struct Call {
  const Verb& verb;
  Arguments args;
  std::string output;  ///< one of verb.outputs
  const Console& console;
  Getenv getenv;
  [[nodiscard]] bool json() const { return output == "json"; }
};

struct Verb {
  std::string name;
  std::string usage;                             ///< "ID [ID...]"
  std::string summary;                           ///< one line for `rtrain help`
  std::string description;                       ///< what the one line does not say; may be empty
  int positionals_min = 0, positionals_max = 0;  ///< max -1: any number
  std::vector<std::string> outputs;  ///< values of -o, the default first; empty: the verb has no -o
  bool needs_head = true;            ///< takes --head and --token-file
  std::vector<Option> options;       ///< besides the global ones
  std::vector<Example> examples;     ///< 2 to 4
  /// the exit status; an error is printed and gives exit_of(its code)
  Result<int> (*run)(Call& call) = nullptr;
};

// One per file of the same name, but for those that say otherwise.
[[nodiscard]] Verb run_verb();
[[nodiscard]] Verb submit_verb();
[[nodiscard]] Verb validate_verb();
[[nodiscard]] Verb plan_verb();
[[nodiscard]] Verb list_verb();
[[nodiscard]] Verb status_verb();
[[nodiscard]] Verb logs_verb();
[[nodiscard]] Verb metrics_verb();
[[nodiscard]] Verb events_verb();
[[nodiscard]] Verb result_verb();
[[nodiscard]] Verb cancel_verb();
[[nodiscard]] Verb hold_verb();     // hold.cpp
[[nodiscard]] Verb release_verb();  // hold.cpp
[[nodiscard]] Verb profile_verb();
[[nodiscard]] Verb debug_verb();
[[nodiscard]] Verb queue_verb();
[[nodiscard]] Verb nodes_verb();
[[nodiscard]] Verb node_verb();
[[nodiscard]] Verb reservation_verb();
[[nodiscard]] Verb prune_verb();
[[nodiscard]] Verb checkpoint_verb();
[[nodiscard]] Verb sweep_verb();
[[nodiscard]] Verb doctor_verb();
[[nodiscard]] Verb version_verb();
[[nodiscard]] Verb help_verb();

/// All verbs in the order of the help page.
[[nodiscard]] const std::vector<Verb>& verbs();
/// nullptr when there is none of that name.
[[nodiscard]] const Verb* find_verb(std::string_view name);

/// The options that `verb` accepts: its own, then the global ones it has use for.
[[nodiscard]] std::vector<Option> all_options(const Verb& verb);

/// Pages of the help. `colour` makes headings bold.
[[nodiscard]] std::string help_page(bool colour);
[[nodiscard]] std::string help_page(const Verb& verb, bool colour);
/// "exit-codes", "environment", "output"; nullopt when there is no such topic.
[[nodiscard]] std::optional<std::string> help_topic(std::string_view name, bool colour);
[[nodiscard]] std::vector<std::string> help_topics();

/// The program: finds the verb, parses, runs, prints the error. `args` without the program's name.
[[nodiscard]] int run_program(const std::vector<std::string>& args, const Getenv& getenv);

}  // namespace rtrain::cli
