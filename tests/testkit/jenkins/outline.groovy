// What a declarative Jenkinsfile contains: groovy outline.groovy JENKINSFILE. Prints a line for each step and each
// assignment: its blocks and its name, joined with "/", a tab, and its value.
class Outline {
    List<String> path = []

    def propertyMissing(String name) { name } // `any` in `agent any`

    void setProperty(String name, Object value) { println(join(name) + '\t' + value) }

    def methodMissing(String name, Object arguments) {
        List given = (arguments as List).collect()
        if (given && given.last() instanceof Closure) {
            Closure block = given.removeLast()
            block.delegate = new Outline([name, *given].join(' '), path)
            block.resolveStrategy = Closure.DELEGATE_ONLY
            block()
            return null
        }
        println(join(name) + '\t' + given.join(' '))
        return "$name(${given.join(' ')})".toString()
    }

    Outline() {}

    Outline(String name, List<String> outer) { this.@path = outer + name }

    private String join(String name) { (path + name).join('/') }
}

Script script = new GroovyShell().parse(new File(args[0]))
script.metaClass.methodMissing = { String name, Object arguments -> new Outline().methodMissing(name, arguments) }
script.run()
