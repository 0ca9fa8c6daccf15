import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import software.amazon.event.ruler.JsonRuleCompiler;
import software.amazon.event.ruler.Ruler;

/**
 * Holds event patterns against events with AWS's own matcher. Each line that comes in is `{"pattern": "<JSON>", "event": "<JSON>"}`, and for each a
 * line goes out: `true`, `false`, `invalid: ` and what the matcher says about the pattern, or
 * `failed: ` and its exception.
 */
class MatchPairs {
  public static void main(String[] args) throws Exception {
    var mapper = new ObjectMapper();
    var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    var out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      JsonNode pair = mapper.readTree(line);
      out.write(match(pair.get("pattern").textValue(), pair.get("event").textValue()));
      out.newLine();
      if (!in.ready()) out.flush();
    }
    out.flush();
  }

  private static String match(String pattern, String event) {
    // What this compiler refuses, `matchesRule` gives to the one before it, which knows no `$or` and takes it for a field.
    String problem = JsonRuleCompiler.check(pattern);
    if (problem != null) return "invalid: " + firstLine(problem);
    try {
      return String.valueOf(Ruler.matchesRule(event, pattern));
    } catch (Exception | AssertionError failure) {
      return "failed: " + failure.getClass() + " " + firstLine(String.valueOf(failure.getMessage()));
    }
  }

  private static String firstLine(String text) {
    return text.lines().findFirst().orElse("");
  }
}
